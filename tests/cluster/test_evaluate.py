"""Evaluation of a policy: every prompt answered once, settings kept with the scores, two evaluations compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.rollout_fleet import RolloutRequest, Submitted
from cluster.compare import main as compare_command
from cluster.config import RunConfig
from cluster.config.fields import all_fields, sections
from cluster.errors import ConfigError, UserError
from cluster.evaluate import app
from cluster.evaluation import by_policy as evaluating
from cluster.evaluation import greedy as evaluation
from cluster.evaluation.comparison import NotComparable, compare, read_evaluation
from cluster.evaluation.records import read_results, read_samples
from cluster.evaluation.settings import FIELDS, SCORING, SECTIONS, WITHOUT
from cluster.inputs.benchmarks import for_evaluation
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt, write_annotations
from rewards import Score, score_response
from tests.cluster.fakes import FakeClips, FakeSystem, make_config, make_prompts
from tests.cluster.test_report import Balance
from tests.e2e.launching import records

COUNT = 7
BROKEN = "when/p2"


class Answering:
    """Rollout workers that answer with an interval that ends later the higher the prompt's number."""

    def __init__(self, shift: float, dies_after: int | None) -> None:
        self.asked: list[RolloutRequest] = []
        self._shift, self._dies_after = shift, dies_after

    def submit(self, requests: Sequence[RolloutRequest], together: bool = True) -> list[Submitted]:
        if self._dies_after is not None and len(self.asked) >= self._dies_after:
            raise KeyboardInterrupt
        self.asked += requests
        return [Submitted("rollout-0", self._rollout(request)) for request in requests]

    def gather(self, submitted: Sequence[Submitted]) -> list[Rollout]:
        return [one.rollout for one in submitted]

    def _rollout(self, request: RolloutRequest) -> Rollout:
        end = 2.0 + float(request.prompt.id[-1]) / 10 + self._shift
        text = f"<think>-</think><answer>1 to {end}</answer>"
        return Rollout(request.prompt, [1], [Response(0, [5, 6], text, [-0.1, -0.1], "stop", [(0, 2, 0)])])


class ByRule:
    """Reward workers that score as the real ones do."""

    def score(self, rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        assert by_rule
        return [[self._score(one.prompt, response) for response in one.responses] for one in rollouts]

    def metrics(self) -> dict[str, float]:
        """Of a judge that once could not."""
        return {"judge_requests": 3, "judge_unreadable": 0, "judge_fallbacks": 1}

    def _score(self, prompt: VideoPrompt, response: Response) -> Score:
        return score_response(prompt.task, response.text, prompt.target, duration=prompt.duration)


def evaluate(
    config: RunConfig,
    patch: pytest.MonkeyPatch,
    shift: float = 0.0,
    dies_after: int | None = None,
    broken: str = BROKEN,
) -> list[str]:
    """Evaluate with stand-ins; the ids of the prompts that were asked."""
    system = FakeSystem()
    system.clips = FakeClips(broken={broken})
    system.fleet = fleet = Answering(shift, dies_after)  # type: ignore[assignment]
    system.rewards = ByRule()  # type: ignore[assignment]

    @contextmanager
    def serving(*arguments: Any) -> Iterator[FakeSystem]:
        yield system

    patch.setattr(evaluating, "sampling_system", serving)
    patch.setattr(system, "submit", fleet.submit)
    evaluating.evaluate_policy(config)
    return [request.prompt.id for request in fleet.asked]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "when.jsonl"
    write_annotations(path, [replace(prompt, options=()) for prompt in make_prompts(COUNT)])
    return path


def benchmark(annotations: Path, name: str = "x", **fields: Any) -> RunConfig:
    data = {"eval_datasets": ({"name": "when", "format": "jsonl", "annotations": str(annotations)},)}
    return for_evaluation(
        make_config(annotations.parent / name, **{**fields, "data": {**data, **fields.get("data", {})}})
    )


def test_every_prompt_is_answered_once_and_all_of_it_is_kept(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = benchmark(annotations)
    asked = evaluate(config, monkeypatch)
    assert asked == [f"when/p{n}" for n in range(COUNT) if n != 2]
    (table,) = read_results(config.run_dir).tasks
    by_name = {figure.name: figure.value.mean for figure in table.figures}
    values = [0.0 if n == 2 else 1 / (1 + n / 10) for n in range(COUNT)]
    assert by_name["mIoU"] == pytest.approx(100 * sum(values) / COUNT, abs=1e-3)
    assert (table.samples, table.well_formed) == (COUNT, COUNT - 1)
    assert [(one.kind, one.first) for one in table.failures] == [("unanswered", BROKEN)]
    (note,) = read_results(config.run_dir).notes
    assert note.startswith("1 questions about answers went to the lexical judge")
    line = records(config.run_dir / "samples.jsonl")[0]
    assert (line["id"], line["dataset"], line["tokens"]) == ("when/p0", "when", 2)
    assert line["asked"].startswith("When does this happen in the video: what?")
    shown = capsys.readouterr().out
    page = (config.run_dir / "report.html").read_text()
    for part in ("when, Temporal grounding", "mIoU", "R@0.7", BROKEN):
        assert part in shown
        assert part in page
    assert 'id="clip-when/p0"' in page
    # Once above the rows of each table, and intervals below their figures: nothing is cut off on a narrow page.
    assert [page.count(f'colspan="{n}">when, Temporal grounding</th>') for n in (6, 3)] == [1, 1]
    value = table.figures[0].value
    assert f'{value.mean:.2f}<small class="range">[{value.low:.2f}, {value.high:.2f}]</small>' in page
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    assert "cold start" not in page


def test_what_is_answered_is_not_asked_again(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    config = benchmark(annotations)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config, monkeypatch, dies_after=3)
    assert not (config.run_dir / "results.json").exists()
    with (config.run_dir / "samples.jsonl").open("a") as file:
        file.write('{"id": "when/p4", "torn')
    assert evaluate(config, monkeypatch) == ["when/p4", "when/p5", "when/p6"]
    assert sorted(read_samples(config.run_dir)) == [f"when/p{n}" for n in range(COUNT)]
    results = read_results(config.run_dir)
    assert evaluate(config, monkeypatch) == []
    assert read_results(config.run_dir).tasks == results.tasks


def test_a_prompt_that_could_not_be_used_is_asked_again(
    annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = benchmark(annotations)
    evaluate(config, monkeypatch)
    assert evaluate(config, monkeypatch, broken="none") == [BROKEN]
    (table,) = read_results(config.run_dir).tasks
    assert (table.samples, table.failures) == (COUNT, [])
    lines = records(config.run_dir / "samples.jsonl")
    assert [line["id"] for line in lines] == [f"when/p{n}" for n in range(COUNT)]
    assert [line["problem"] for line in lines] == [None] * COUNT


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"video": {"fps": 1.0}}, "video.fps: 2.0 -> 1.0"),
        ({"video": {"max_pixels": 784 * 64}}, "video.max_pixels"),
        ({"data": {"template": "direct"}}, "data.template"),
        ({"rollout": {"max_response_tokens": 64}}, "evaluation.max_response_tokens: 512 -> 64"),
        ({"reward": {"mode": "paper"}}, "reward.mode"),
        ({"reward": {"options": {Task.TEMPORAL_GROUNDING: {"max_intervals": 2}}}}, "prompts.when"),
        ({"model": {"path": "some/other"}}, "answers.model"),
    ],
)
def test_other_settings_refuse_to_share_a_folder(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], key: str
) -> None:
    evaluate(benchmark(annotations), monkeypatch)
    with pytest.raises(ConfigError, match="another run.name") as error:
        evaluate(benchmark(annotations, **changed), monkeypatch)
    assert key in str(error.value)


def test_where_and_how_fast_is_no_setting(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(benchmark(annotations), monkeypatch)
    elsewhere = {"rollout": {"num_workers": 2}, "data": {"cache_gib": 2.0}, "grpo": {"steps": 7}}
    assert evaluate(benchmark(annotations, **elsewhere), monkeypatch) == []


def test_a_checkpoint_that_was_written_anew_is_another(
    annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "model.safetensors").write_bytes(b"weights")
    config = benchmark(annotations, model={"path": str(policy)})
    evaluate(config, monkeypatch)
    assert evaluate(config, monkeypatch) == []
    (policy / "model.safetensors").write_bytes(b"trained")
    with pytest.raises(ConfigError, match=r"answers\.files"):
        evaluate(config, monkeypatch)


def test_settings_are_fields() -> None:
    assert set(all_fields()) >= FIELDS | SCORING | WITHOUT
    assert set(sections()) >= SECTIONS


def test_the_difference_of_two_is_over_pairs(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = benchmark(annotations, "first"), benchmark(annotations, "second", model={"path": "some/other"})
    for config, shift in zip(configs, (0.5, 0.0), strict=True):
        evaluate(config, monkeypatch, shift)
    first, second = (read_evaluation(config.run_dir) for config in configs)
    found = compare(first, second)
    row = found.rows[0]
    assert (row.name, row.samples, found.warnings) == ("mIoU", COUNT, [])
    gains = [100 * (second.samples[i].value("iou") - first.samples[i].value("iou")) for i in first.samples]
    assert row.gain.mean == pytest.approx(sum(gains) / COUNT, abs=1e-3)
    assert row.gain.mean == pytest.approx(row.second.mean - row.first.mean, abs=1e-3)
    assert 0 < row.gain.low <= row.gain.mean <= row.gain.high
    assert row.gain.half_width < row.first.half_width
    assert row.trivial == {"whole video": 25.0}
    same = compare(first, replace(second, samples=first.samples)).rows[0]
    assert (same.gain.mean, same.gain.low, same.gain.high) == (0, 0, 0)


def test_parts_have_paired_differences_of_their_own(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = {"p0": "short", "p1": "long", "p3": "short", "p4": "long"}
    prompts = [replace(p, options=(), part=names.get(p.id, "")) for p in make_prompts(COUNT)]
    write_annotations(annotations, prompts)
    configs = benchmark(annotations, "first"), benchmark(annotations, "second", model={"path": "some/other"})
    for config, shift in zip(configs, (0.5, 0.0), strict=True):
        evaluate(config, monkeypatch, shift)
    first, second = (read_evaluation(config.run_dir) for config in configs)
    parts = [row for row in compare(first, second).rows if row.part]
    assert [(row.name, row.part, row.samples) for row in parts] == [
        ("mIoU", "short", 2),
        ("mIoU", "long", 2),
        ("mIoU", "the rest", 3),
    ]
    for row in parts:
        own = [i for i, s in first.samples.items() if (s.prompt.part or "the rest") == row.part]
        gains = [100 * (second.samples[i].value("iou") - first.samples[i].value("iou")) for i in own]
        assert row.gain.mean == pytest.approx(sum(gains) / len(gains), abs=1e-3)
        assert row.gain.low <= row.gain.mean <= row.gain.high
    figures = {part.part: part.figure for part in first.results.tasks[0].parts}
    assert [(row.constant, row.trivial) for row in parts] == [
        (figures[row.part].constant, figures[row.part].trivial) for row in parts if row.part
    ]
    arguments = [*(str(config.run_dir) for config in configs), "--json", str(tmp_path / "c.json")]
    for form in ([], ["--markdown"]):
        shown = CliRunner().invoke(_app(compare_command), [*arguments, *form])
        assert all(f"mIoU, {part}" in shown.output for part in ("short", "long", "the rest")), shown.output
    rows = json.loads((tmp_path / "c.json").read_text())["rows"]
    assert [row["part"] for row in rows[-3:]] == ["short", "long", "the rest"]


def test_a_comparison_that_cannot_be_written_is_refused_before_it_is_made(tmp_path: Path) -> None:
    arguments = [str(tmp_path), str(tmp_path), "--json", str(tmp_path / "gone" / "c.json")]
    result = CliRunner().invoke(_app(compare_command), arguments)
    assert result.exit_code == 2 and "--json" in result.output


def test_two_that_were_not_asked_alike_share_no_table_in_silence(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configs = benchmark(annotations, "first"), benchmark(annotations, "second", video={"fps": 1.0})
    for config in configs:
        evaluate(config, monkeypatch)
    folders = [str(config.run_dir) for config in configs]
    with pytest.raises(NotComparable, match=r"video\.fps: 2\.0 -> 1\.0"):
        compare(*map(read_evaluation, map(Path, folders)))
    runner, command = CliRunner(), _app(compare_command)
    refused = runner.invoke(command, folders)
    assert refused.exit_code == 1
    assert "video.fps: 2.0 -> 1.0" in refused.output
    assert "mIoU" not in refused.output
    shown = runner.invoke(command, [*folders, "--anyway", "--markdown", "--json", str(tmp_path / "c.json")])
    assert shown.exit_code == 0, shown.output
    assert "NOT EVALUATED ALIKE: video.fps: 2.0 -> 1.0" in shown.output
    assert "| when, Temporal grounding | mIoU | 7 |" in shown.output
    assert "| 25.00 | 100.00 |" in shown.output
    assert "the trivial one: whole video." in shown.output
    assert json.loads((tmp_path / "c.json").read_text())["warnings"] == ["video.fps: 2.0 -> 1.0"]
    assert "NOT EVALUATED ALIKE" in runner.invoke(command, [*folders, "--anyway"]).output


def test_part_of_a_dataset_is_not_the_dataset(annotations: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = benchmark(annotations, "first")
    entry = {"name": "when", "format": "jsonl", "annotations": str(annotations), "cap": 4}
    part = benchmark(annotations, "second", data={"eval_datasets": (entry, {**entry, "name": "other"})})
    for config in (whole, part):
        evaluate(config, monkeypatch)
    first, second = (read_evaluation(config.run_dir) for config in (whole, part))
    with pytest.raises(NotComparable, match=r"dataset\.when: \"7 prompts") as error:
        compare(first, second)
    assert "dataset.other" not in str(error.value)
    found = compare(first, second, anyway=True)
    assert {row.samples for row in found.rows} == {4}
    assert {row.dataset for row in found.rows} == {"when"}
    assert found.notes == [
        f"other is in {part.run_dir} alone",
        f"when, temporal_grounding: constant and trivial answer are of all {COUNT} prompts of {whole.run_dir}, "
        "the rest of the 4 that both have",
    ]


def test_predictions_are_known_to_be_asked_in_ways_unknown(
    annotations: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = benchmark(annotations)
    evaluate(config, monkeypatch)
    recipe = tmp_path / "y.yaml"
    entry = f"{{name: when, format: jsonl, annotations: {annotations}}}"
    recipe.write_text(f"run: {{name: y, output_dir: {tmp_path}}}\ndata: {{eval_datasets: [{entry}]}}\n")
    for name in ("y", "z"):
        lines = tmp_path / f"{name}.jsonl"
        lines.write_text('{"id": "p0", "answer": "1 to 2"}\n')
        arguments = ["--config", str(recipe), "--predictions", str(lines), f"run.name={name}"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
    ours, y, z = (read_evaluation(tmp_path / f"{name}-evaluation") for name in ("x", "y", "z"))
    with pytest.raises(NotComparable, match='decoding.temperature: 0.0 -> "not known"'):
        compare(ours, y)
    assert all("video.fps" in note for note in compare(y, z).notes)


def test_a_training_runs_folder_is_told_from_an_evaluations(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"tasks": {}}')
    with pytest.raises(
        UserError, match="two training runs are put side by side by `python -m cluster.results`"
    ):
        read_evaluation(tmp_path)


def test_a_folder_without_an_evaluation_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished evaluation: .*results\.json is not there"):
        read_evaluation(tmp_path)


def test_a_runs_folder_stands_for_its_policy(annotations: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "policy").mkdir(parents=True)
    recipe = tmp_path / "y.yaml"
    recipe.write_text("data: {eval_datasets: [{name: m, format: jsonl, annotations: /no/such}]}\n")
    done = CliRunner().invoke(app, ["--config", str(recipe), "--checkpoint", str(tmp_path / "run")])
    assert done.exit_code == 2
    assert f"{tmp_path}/run/policy" in done.output
    assert "the folder holds no config.json" in done.output
    assert "data.eval_datasets[0].annotations" in done.output


def test_a_dry_run_shows_what_an_evaluation_does_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHARADES", "ANET", "GOT10K", "NEXTGQA", "VIDEOMME", "MVBENCH", "PERCEPTION"):
        monkeypatch.setenv(name, str(tmp_path))
    recipe = Path(__file__).resolve().parents[2] / "configs" / "videochat_r1_benchmarks.yaml"
    done = CliRunner().invoke(app, ["--config", str(recipe), "--dry-run", "--gpu-gib", "80"])
    assert done.exit_code == 0, done.output
    for part in ("greedy answers to the held-out prompts", "data.eval_datasets[4]", "rollout worker │ fits"):
        assert part in done.output
    never = (
        "learner rank",
        "│ grpo.",
        "│ learner.",
        "│ cold_start.",
        "per step",
        "reference",
        "travel",
        "bucket",
    )
    assert not [part for part in never if part in done.output]
    assert "nothing was started" in done.output
    answers = ["--predictions", str(tmp_path / "a.jsonl")]
    refused = CliRunner().invoke(app, ["--config", str(recipe), "--dry-run", *answers])
    assert "leave --dry-run out" in refused.output


def _app(command: Any) -> Any:
    import typer

    made = typer.Typer()
    made.command()(command)
    return made


@pytest.mark.parametrize("line", ["[]", "{", '{"id": 1}', '{"score": 3, "windows": [], "prompt": {}}'])
def test_a_damaged_sample_is_named(tmp_path: Path, line: str) -> None:
    config = make_config(tmp_path / "run")
    config.run_dir.mkdir()
    (config.run_dir / "samples.jsonl").write_text(f"{line}\n")
    with pytest.raises(ConfigError, match=r"samples\.jsonl holds a line that is no sample; delete it"):
        evaluating.known_samples(config)
