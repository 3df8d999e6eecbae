"""The report: every part there, self-contained, honest to the numbers, and safe whatever the model wrote."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.config.stored import write_config
from cluster.records.eval_records import EvalSample, read_eval_samples, write_eval_samples
from cluster.records.results import read_results
from cluster.report.axes import round_ticks, spread_out
from cluster.report.charts import Chart, Level, Series, draw_chart, fit_axes, rolling_mean
from cluster.report.clips import choose_clips, response_html
from cluster.report.frames import BoxTrack, Spans, frame_strip, timeline
from cluster.report.page import page_html
from cluster.report.run_page import report_html, write_report
from data.prompts import THINKING
from data.schema import Task
from data.synthetic import TASKS
from tests.cluster.fakes import make_config
from tests.cluster.run_fixture import make_run

VOID = {"meta", "img", "wbr"}


class Balance(HTMLParser):
    """Fails on a tag that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "night")


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def card(page: str, prompt_id: str) -> str:
    """The card of one clip."""
    return page.split(f'id="clip-{prompt_id}"', 1)[1].split("</article>", 1)[0]


def test_the_page_is_well_formed_and_needs_nothing_but_itself(page: str) -> None:
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r"""(src|href)=["'](?!data:)|@import|url\(""", page)


def test_the_page_says_which_run_it_is(page: str) -> None:
    for part in ("<h1>night</h1>", "tiny", "19 min 1 s", "02 March 2026, 14:05", "run.seed=7", "vllm 0.32.0"):
        assert part in page
    assert "clip &lt;b&gt;x&lt;/b&gt; was quarantined" in page


def test_the_table_shows_the_results(run: Path, page: str) -> None:
    for result in read_results(run).tasks.values():
        for metric in result.metrics:
            assert f"{metric.grpo.mean:.1f}<i>± {metric.grpo.half_width:.1f}</i>" in page
            assert f"{metric.constant:.1f}<small>{metric.constant_answer}" in page


def test_each_reported_metric_has_a_curve_with_the_constant_answer_drawn_in(run: Path, page: str) -> None:
    curves = page.split("<h2>Learning curves</h2>")[1].split("<h2>")[0].split("<figure")[1:]
    metrics = [m for result in read_results(run).tasks.values() for m in result.metrics]
    assert len(curves) == len(metrics) == 5
    for curve, metric in zip(curves, metrics, strict=True):
        assert curve.count('class="level c-constant"') == 1
        assert f"constant {metric.constant:.1f}</text>" in curve
        assert f"cold start {metric.cold_start.mean:.1f}</text>" in curve
        assert 'class="raw c-policy"' in curve or "evidence" in curve


def test_the_health_charts_leave_out_what_was_never_measured(page: str) -> None:
    health = page.split("<h2>Health of the run</h2>")[1].split("<h2>")[0]
    for title in ("Mismatch", "Entropy", "Gradient norm", "Seconds per step", "Cold start: supervised loss"):
        assert f"<b>{title}</b>" in health
    assert "KL to the reference" not in health


def test_each_chosen_clip_is_shown_with_its_frames_and_both_answers(run: Path, page: str) -> None:
    before, after = read_eval_samples(run, "cold_start"), read_eval_samples(run, "grpo")
    chosen = choose_clips(before, after, THINKING)
    assert len(chosen) == 12
    for clip in chosen:
        shown = card(page, clip.prompt.id)
        assert shown.count("data:image/jpeg;base64,") == 8
        assert f'<span class="place">{clip.place}</span>' in shown
        assert clip.prompt.question in shown
        assert clip.before is not None
        assert response_html(clip.before.response) in shown
        assert response_html(clip.after.response) in shown


def test_clips_are_chosen_by_the_rule(run: Path) -> None:
    after = read_eval_samples(run, "grpo")
    totals = {s.prompt.id: s.score.total for s in after if s.score}
    for task in TASKS:
        chosen = [clip for clip in choose_clips(after, after, THINKING) if clip.prompt.task == task]
        ranked = sorted((t for i, t in totals.items() if i.startswith(f"{task}-")), reverse=True)
        assert [clip.place for clip in chosen] == ["best", "median", "worst"]
        shown = [totals[clip.prompt.id] for clip in chosen]
        assert shown == [ranked[0], ranked[len(ranked) // 2], ranked[-1]]


def test_a_task_with_fewer_clips_shows_those(run: Path) -> None:
    after = read_eval_samples(run, "grpo")
    assert [c.place for c in choose_clips([], after[:1], None)] == ["best"]
    assert choose_clips([], [], None) == []


def test_whatever_scores_0_says_why(run: Path, page: str) -> None:
    chosen = choose_clips(read_eval_samples(run, "cold_start"), read_eval_samples(run, "grpo"), THINKING)
    zero = [(c.prompt.id, s) for c in chosen for s in (c.before, c.after) if s and s.score and s.score.reason]
    assert any(s.score and s.score.reason == "C is wrong, A is right" for _, s in zero)
    for name, sample in zero:
        assert sample.score
        assert f'<p class="reason">{sample.score.reason}</p>' in card(page, name)


def test_a_record_of_0_without_a_reason_is_told_from_one_that_earned_something(
    run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(run, folder)
    after = [
        replace(s, score=s.score and replace(s.score, reason=None)) for s in read_eval_samples(run, "grpo")
    ]
    missed = after[0].score
    assert missed
    after[0] = replace(after[0], score=replace(missed, rewards=dict.fromkeys(missed.rewards, 0.0), total=0.0))
    write_eval_samples(folder, "grpo", after)
    shown = report_html(folder)
    assert "no reason was recorded" in card(shown, after[0].prompt.id)
    assert shown.count("no reason was recorded") == 1


def test_bars_stand_where_the_intervals_are(page: str) -> None:
    shown = card(page, "temporal_grounding-0")
    # 0.5 to 2.0 of 4 seconds.
    assert 'class="bar c-truth" style="left:12.50%;width:37.50%"' in shown
    assert "<b>true</b> 0.5–2</span>" in shown
    # The cold start is off by 0.6 s, the answer after GRPO by nothing.
    assert 'class="bar c-policy" style="left:12.50%;width:37.50%"' in shown
    assert 'class="bar c-cold" style="left:27.50%;width:37.50%"' in shown


def test_bars_are_cut_at_the_clips_ends_and_none_is_said() -> None:
    rows = timeline(0.0, 4.0, [Spans("a", "cold", [[-2, 1]]), Spans("b", "policy", [[3, 9], [5, 6], [2, 1]])])
    assert 'style="left:0.00%;width:25.00%"' in rows
    assert rows.count('class="bar') == 2 and 'style="left:75.00%;width:25.00%"' in rows
    assert "<b>c</b> none" in timeline(0.0, 4.0, [Spans("c", "cold", [])])


def test_bars_of_a_picture_that_starts_late_stand_below_their_frames() -> None:
    rows = timeline(4.0, 12.0, [Spans("true", "truth", [[6, 8]])])
    assert 'style="left:25.00%;width:25.00%"' in rows and "</b> 6–8</span>" in rows
    assert '<i style="left:0.00%">4</i><i style="left:12.50%">5</i>' in rows


def test_boxes_are_drawn_on_their_own_frames() -> None:
    frames = np.zeros((8, 28, 28, 3), np.uint8)
    boxes = [[n / 10, 0.2, n / 10 + 0.3, 0.6] for n in range(8)]
    cells = frame_strip(
        frames, [BoxTrack("true", "truth", boxes), BoxTrack("new", "policy", boxes[:5])]
    ).split('class="frame"')[1:]
    for n, cell in enumerate(cells):
        assert f'class="box c-truth" x="{n / 10:.4f}" y="0.2000" width="0.3000" height="0.4000"' in cell
        assert ("c-policy" in cell) == (n < 5)


def test_the_frames_are_those_of_the_video_in_order(page: str) -> None:
    shown = card(page, "tracking-0")
    images = re.findall(r"base64,([^\"]+)", shown)
    lefts = []
    for image in images:
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))), np.int64)
        red = (pixels[..., 0] > 160).any(axis=0)
        lefts.append(red.argmax() / pixels.shape[1])
    # The square moves 2 of 96 pixels per frame, the boxes are 3 frames apart.
    assert lefts == pytest.approx([6 * n / 96 for n in range(8)], abs=0.02)


def test_what_the_model_wrote_cannot_break_the_page() -> None:
    text = "<think>a < b</think><answer><script>alert(1)</script></answer>"
    html = response_html(text)
    assert "<script" not in html
    assert '<span class="think"><u>&lt;think&gt;</u>a &lt; b<u>&lt;/think&gt;</u></span>' in html


def test_what_data_says_cannot_reorder_the_page_or_hide_in_it(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy\u202e"))
    hidden = "\u202ex\u2066y\x1b[2J\u200b\U000e0041"
    samples = [
        EvalSample(
            replace(s.prompt, question=hidden, options=(hidden, "b")), f"<answer>{hidden}</answer>", s.score
        )
        for s in read_eval_samples(copy, "grpo")
        if s.score
    ]
    write_eval_samples(copy, "grpo", samples)
    shown = write_report(copy).read_text(encoding="utf-8")
    assert r"\u202ex\u2066y\x1b[2J\u200b\U000e0041" in card(shown, samples[0].prompt.id)
    assert page_html("\ud800", "\ud800").count(r"\ud800") == 2
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", shown
    )


def test_failed_clips_are_listed_and_not_shown_as_the_worst(run: Path, page: str) -> None:
    assert "1 held-out prompts could not be evaluated" in page
    assert "<code>tracking-4</code> cut short after 3 frames" in page
    assert "clip-tracking-4" not in page


def test_a_video_that_has_gone_is_said_and_the_page_is_made(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    samples = [
        EvalSample(replace(s.prompt, video="/gone.mp4"), s.response, s.score)
        for s in read_eval_samples(copy, "grpo")
        if s.score
    ]
    write_eval_samples(copy, "grpo", samples)
    assert report_html(copy).count("no frames: /gone.mp4 has gone") == 12


def test_a_run_that_was_stopped_early_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    html = write_report(tmp_path).read_text()
    assert f"<h1>{tmp_path.name}</h1>" in html and "<h2>" not in html
    with pytest.raises(FileNotFoundError, match="no such run"):
        write_report(tmp_path / "nowhere")


def test_a_run_that_has_not_ended_shows_the_levels_to_beat(run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    metrics = [m for result in read_results(copy).tasks.values() for m in result.metrics]
    for name in ("results.json", "eval_grpo.jsonl"):
        (copy / name).unlink()
    curves = report_html(copy).split("<h2>Learning curves</h2>")[1].split("<h2>")[0].split("<figure")[1:]
    for curve, metric in zip(curves, metrics, strict=True):
        assert f"constant {metric.constant:.1f}</text>" in curve
        assert f"cold start {metric.cold_start.mean:.1f}</text>" in curve
        assert "held-out" not in curve


def test_its_levels_are_scored_as_the_run_scores(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    monkeypatch.setattr(
        "cluster.report.run_page.compute_results", lambda before, after, mode: modes.append(mode)
    )
    shutil.copy(run / "eval_cold_start.jsonl", tmp_path)
    for written in ("", "reward: {mode: paper}\n"):
        (tmp_path / "config.yaml").write_text(f"run: {{name: x}}\n{written}")
        write_report(tmp_path)
    assert modes == ["strict", "paper"]


def test_a_gap_breaks_the_line_and_a_lone_value_is_a_dot() -> None:
    chart = Chart("t", [1, 2, 3, 4], [Series("s", "policy", [0.1, None, 0.3, 0.4])])
    raw = re.findall(r'class="raw c-policy" points="([^"]+)"', draw_chart(chart))
    assert [len(points.split()) for points in raw] == [2, 2]
    assert len(set(raw[0].split())) == 1 and len(set(raw[1].split())) == 2


def test_higher_values_are_drawn_higher_and_everything_is_inside() -> None:
    levels = [Level("low", "cold", -0.5), Level("point", "policy", 0.9, 0.7, 1.1)]
    axes = fit_axes(Chart("t", [1, 9], [], levels), [Series("s", "policy", [0.2, 0.6])])
    assert axes.y(0.2) > axes.y(0.6) > axes.y(1.1) >= 0
    assert axes.x(1) < axes.x(9)
    assert axes.values[0] <= -0.5 and axes.values[1] >= 1.1


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (1.00001, 1.000025), (0, 0), (3, 3), (-0.031, 0.024), (0, 812)]
)
def test_ticks_are_round_and_reach_over_the_values(low: float, high: float) -> None:
    ticks = round_ticks(low, high)
    assert ticks[0] <= low + 1e-12 and ticks[-1] >= high - 1e-12
    assert 2 <= len(ticks) <= 9


def test_the_rolling_mean_keeps_constants_and_skips_gaps() -> None:
    assert rolling_mean([2.0] * 9) == [2.0] * 9
    assert rolling_mean([None] * 4) == [None] * 4
    assert rolling_mean([0.0, None, 3.0])[1] == 1.5


def test_labels_are_pushed_apart_and_stay_inside() -> None:
    placed = spread_out([10, 11, 12, 99], 13, 0, 100)
    assert all(b - a >= 13 for a, b in pairwise(placed))
    assert placed[0] == 10 and placed[-1] <= 100
    assert spread_out([95, 96, 97], 13, 0, 100) == [74, 87, 100]
    assert spread_out([20, 60], 13, 0, 100) == [20, 60]


def test_a_long_run_is_drawn_with_few_points_and_both_ends() -> None:
    chart = Chart("t", list(range(1, 5001)), [Series("s", "policy", [float(n) for n in range(5000)])])
    html = draw_chart(chart)
    assert len(html) < 60_000
    assert '"step": [1, ' in html.replace("&quot;", '"') and "5000]" in html


def test_the_command_writes_the_page_or_says_why_not(run: Path, tmp_path: Path) -> None:
    def call(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cluster.report", str(folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert call(run).stdout.strip() == str(run / "report.html")
    (tmp_path / "metrics.jsonl").write_text('{"step": "one"}\n')
    failed = call(tmp_path)
    assert failed.returncode == 1
    assert "metrics.jsonl:1" in failed.stderr and "Traceback" not in failed.stderr


def test_prompts_are_shown_as_the_run_asked_them(run: Path, tmp_path: Path) -> None:
    assert "<summary>prompt</summary>" not in report_html(run)
    copy = shutil.copytree(run, tmp_path / "copy")
    several = {Task.TEMPORAL_GROUNDING: {"max_intervals": 2}}
    sections = {"data": {"template": "direct"}, "reward": {"options": several}}
    write_config(make_config(copy, model={"path": "owner/name"}, **sections))
    shown = report_html(copy)
    assert shown.count("<summary>prompt</summary>") == 12
    assert "a list of at most 2" in shown
    assert "&lt;think&gt;" not in "".join(
        re.findall(r"<summary>prompt</summary><pre>(.*?)</pre>", shown, re.DOTALL)
    )


def test_a_folder_that_is_not_a_runs_gets_no_page(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds nothing of a run"):
        write_report(tmp_path)
    assert not list(tmp_path.iterdir())
