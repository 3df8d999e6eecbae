"""The result table: means and intervals over held-out clips, the constant answers, several seeds together."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cluster.config.stored import write_config
from cluster.errors import ConfigError
from cluster.records.bootstrap import bootstrap_mean
from cluster.records.eval_records import EvalSample, read_eval_samples, write_eval_samples
from cluster.records.result_records import METRICS, Results
from cluster.records.result_tables import combined_markdown, markdown_table, rich_table
from cluster.records.results import compute_results, read_results, write_results
from cluster.records.run_settings import run_settings
from cluster.results import main
from data.schema import Task
from data.synthetic import TASKS
from rewards.terminal import Terminal
from tests.cluster.fakes import make_config
from tests.cluster.run_fixture import CLIPS_PER_TASK, answer, evaluated, make_prompts, make_run

table_command = typer.Typer()
table_command.command()(main)


def slow_interval(values: list[float], resamples: int = 4000) -> tuple[float, float]:
    """The percentile bootstrap, spelled out with Python's own generator."""
    rng = random.Random(5)
    means = sorted(fmean(rng.choice(values) for _ in values) for _ in range(resamples))
    return means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]


@pytest.mark.parametrize("kind", ["even", "all or nothing", "skewed"])
def test_the_interval_is_that_of_a_slow_bootstrap(kind: str) -> None:
    rng = random.Random(1)
    draw = {
        "even": lambda: rng.uniform(0, 100),
        "all or nothing": lambda: 100.0 * (rng.random() < 0.3),
        "skewed": lambda: 100 * rng.random() ** 6,
    }[kind]
    values = [draw() for _ in range(150)]
    interval = bootstrap_mean(values)
    low, high = slow_interval(values)
    assert interval.mean == pytest.approx(fmean(values), abs=1e-3)
    assert interval.low == pytest.approx(low, abs=0.8)
    assert interval.high == pytest.approx(high, abs=0.8)


def test_the_interval_is_the_same_for_the_same_seed_and_differs_for_another() -> None:
    values = [float(n * n % 101) for n in range(60)]
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)
    assert bootstrap_mean([25.0] * 9) == bootstrap_mean([25.0])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "night")


def test_results_json_has_the_promised_form(run: Path) -> None:
    content = json.loads((run / "results.json").read_text())
    assert list(content) == ["mode", "tasks"]
    assert list(content["tasks"]) == [task for task in METRICS if task in TASKS]
    for result in content["tasks"].values():
        for stage in ("cold_start", "grpo"):
            assert set(result[stage]) == {"mean", "low", "high"}
            assert result[stage]["low"] <= result[stage]["mean"] <= result[stage]["high"]
        assert isinstance(result["constant"], float)
        assert result["clips"] == CLIPS_PER_TASK
    assert [m["metric"] for m in content["tasks"]["grounded_qa"]["also"]] == ["evidence_iou"]


def test_scores_are_percent_and_the_gain_is_paired(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.MULTIPLE_CHOICE]
    before = [evaluated(p, answer(p, 1.0)) for p in prompts]
    after = [evaluated(p, answer(p, 1.0 if n == 0 else 0.0)) for n, p in enumerate(prompts)]
    result = compute_results(before, after).tasks["multiple_choice"]
    assert (result.cold_start.mean, result.grpo.mean, result.gain.mean) == (0.0, 80.0, 80.0)
    assert result.format_rate == {"cold_start": 100.0, "grpo": 100.0}
    unchanged = compute_results(after, after).tasks["multiple_choice"]
    assert (unchanged.gain.low, unchanged.gain.high) == (0.0, 0.0)
    assert unchanged.grpo.low < unchanged.grpo.high


def test_the_order_of_the_two_evaluations_does_not_matter(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path)
    before = [evaluated(p, answer(p, 0.6)) for p in prompts]
    after = [evaluated(p, answer(p, 0.02 * n)) for n, p in enumerate(prompts)]
    assert compute_results(before, after[::-1]) == compute_results(before, after)


def test_a_clip_that_could_not_be_evaluated_counts_zero_and_is_listed(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.TRACKING]
    samples = [evaluated(p, answer(p, 0.0)) for p in prompts]
    lost = [*samples[:-1], EvalSample(prompts[-1], "", None, problem="zero bytes")]
    result = compute_results(samples, lost).tasks["tracking"]
    assert result.cold_start.mean == pytest.approx(100, abs=0.1)
    assert result.grpo.mean == pytest.approx(80, abs=0.1)
    assert result.failed == [prompts[-1].id]
    assert result.clips == CLIPS_PER_TASK
    assert "5 (1 failed)" in markdown_table(Results(tasks={"tracking": result}))


def test_the_tracking_constant_is_the_first_box_repeated(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.TRACKING]
    samples = [evaluated(p, answer(p, 0.3)) for p in prompts]
    repeated = [evaluated(p, f"<think>same</think><answer>{[p.first_box] * 8}</answer>") for p in prompts]
    result = compute_results(samples, samples).tasks["tracking"]
    assert result.constant == pytest.approx(100 * fmean(sample.value("iou") for sample in repeated), abs=1e-3)
    assert "first box" in result.constant_answer


def test_what_overlap_is_counted_of_is_said_by_the_mode(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.TRACKING]
    samples = [evaluated(p, answer(p, 0.3)) for p in prompts]
    strict, paper = (compute_results(samples, samples, mode) for mode in ("strict", "paper"))
    assert "| Tracking, AO without the first box |" in markdown_table(strict)
    assert "| Tracking, AO with the first box |" in markdown_table(paper)
    assert "| Tracking, IoU |" in combined_markdown({"one": strict, "other": paper})


def test_the_constant_letter_is_the_most_frequent_one(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.MULTIPLE_CHOICE]
    samples = [evaluated(p, answer(p, 0.0)) for p in prompts]
    result = compute_results(samples, samples).tasks["multiple_choice"]
    assert [p.target["answer"] for p in prompts] == ["A", "B", "B", "A", "B"]
    assert result.constant == 60.0
    assert "B" in result.constant_answer


def test_a_constant_of_evidence_scores_what_its_intervals_score(tmp_path: Path) -> None:
    prompts = [p for p in make_prompts(tmp_path) if p.task is Task.GROUNDED_QA]
    same = [replace(p, target={"answer": "B", "intervals": [[1.0, 3.0]]}) for p in prompts]
    samples = [evaluated(p, answer(p, 0.0)) for p in same]
    (evidence,) = compute_results(samples, samples).tasks["grounded_qa"].also
    assert evidence.constant == pytest.approx(100, abs=3)


def test_evaluations_of_different_prompts_are_not_compared(tmp_path: Path) -> None:
    samples = [evaluated(p, answer(p, 0.0)) for p in make_prompts(tmp_path)]
    with pytest.raises(ValueError, match="different prompts"):
        compute_results(samples, samples[1:])


def test_an_evaluation_reads_back_as_it_was_written(tmp_path: Path) -> None:
    prompts = make_prompts(tmp_path)
    samples = [evaluated(p, f"{answer(p, 0.2)}\u2028\ud800") for p in prompts]
    samples.append(replace(evaluated(prompts[1], ""), starts_at=4.0))
    samples.append(EvalSample(prompts[0], "", None, problem="zero bytes"))
    write_eval_samples(tmp_path, "grpo", samples)
    back = read_eval_samples(tmp_path, "grpo")
    assert [s.prompt for s in back] == [s.prompt for s in samples]
    plain = [json.loads(json.dumps(s.score and asdict(s.score))) for s in samples]
    assert [s.score and asdict(s.score) for s in back] == plain
    assert back[0].response == samples[0].response.replace("\ud800", "?")
    assert (back[-1].problem, back[-2].starts_at) == ("zero bytes", 4.0)


def test_the_tables_show_every_figure(run: Path) -> None:
    results = read_results(run)
    console = Terminal(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_table(results))
    for text in (console.export_text(), markdown_table(results)):
        for result in results.tasks.values():
            for metric in result.metrics:
                figures = (metric.cold_start, metric.grpo)
                assert all(f"{f.mean:.1f} ± {(f.high - f.low) / 2:.1f}" in text for f in figures)
                assert f"{metric.constant:.1f} ({metric.constant_answer})" in text
                assert f"{metric.gain.mean:+.1f}" in text


def test_several_seeds_make_one_table(run: Path, tmp_path: Path) -> None:
    results = read_results(run)
    tracking = results.tasks["tracking"]
    better = tracking.grpo.model_copy(update={"mean": tracking.grpo.mean + 4})
    other = Results(tasks={**results.tasks, "tracking": tracking.model_copy(update={"grpo": better})})
    table = combined_markdown({"a": results, "b": other})
    (row,) = [line for line in table.splitlines() if line.startswith("| Tracking")]
    assert f"| {tracking.grpo.mean + 2:.1f} ± 2.8 |" in row
    assert f"{tracking.grpo.mean:.1f} ± " in row and f"{tracking.grpo.mean + 4:.1f} ± " in row

    (tmp_path / "b").mkdir()
    write_results(tmp_path / "b", other)
    command = [sys.executable, "-m", "cluster.results", str(run), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    table, _, notes = done.stdout.rpartition("\n\n")
    assert table == combined_markdown({str(run): results, str(tmp_path / "b"): other})
    assert notes == "".join(f"- the settings of {one} are not known\n" for one in (run, tmp_path / "b"))


def seeded(run: Path, folder: Path, seed: int, **sections: dict[str, Any]) -> Path:
    """A folder with the results of `run` and the configuration of another seed."""
    folder.mkdir()
    write_results(folder, read_results(run))
    write_config(make_config(folder, **sections, run={"seed": seed}))
    return folder


def test_seeds_of_one_configuration_share_a_table(run: Path, tmp_path: Path) -> None:
    folders = [
        seeded(run, tmp_path / f"seed-{seed}", seed, sync={"timeout_s": 60.0 + seed}) for seed in (0, 1)
    ]
    done = CliRunner().invoke(table_command, list(map(str, folders)))
    assert (done.exit_code, "known" in done.output) == (0, False)
    # A file of a run's folder is that run's.
    plain = CliRunner().invoke(table_command, [str(folders[0]), str(folders[1] / "results.json")])
    assert (plain.exit_code, "known" in plain.output) == (0, False)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"grpo": {"kl_coef": 0.25}}, "grpo.kl_coef: 0.0 -> 0.25"),
        ({"grpo": {"steps": 7}}, "grpo.steps: 500 -> 7"),
        ({"video": {"fps": 1.0}}, "video.fps: 2.0 -> 1.0"),
    ],
)
def test_other_settings_are_no_seeds(run: Path, tmp_path: Path, changed: Any, told: str) -> None:
    folders = [seeded(run, tmp_path / "a", 0), seeded(run, tmp_path / "b", 1, **changed)]
    refused = CliRunner().invoke(table_command, list(map(str, folders)))
    assert refused.exit_code == 1
    assert f"  - {folders[1]}: {told}" in refused.output
    assert "| Tracking" not in refused.output and "run.seed: " not in refused.output
    shown = CliRunner().invoke(table_command, [*map(str, folders), "--anyway"])
    assert shown.exit_code == 0, shown.output
    assert "| Tracking" in shown.output
    assert f"- NOT ALIKE: {folders[1]}: {told}" in shown.output


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cluster.results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr and "Traceback" not in done.stderr


def test_the_settings_of_another_version_can_be_read(tmp_path: Path) -> None:
    known, gone = "run: {name: x, seed: 3}\ngrpo: {steps: 7", "judge: {kind: lexical}\nnobody: {knows: 1}\n"
    (tmp_path / "config.yaml").write_text(f"{known}, vanished: 1}}\n{gone}")
    settings = run_settings(tmp_path)
    assert settings is not None and settings["grpo.steps"] == 7
    (tmp_path / "config.yaml").write_text("- no\n")
    with pytest.raises(ConfigError, match="not a configuration that this version can read"):
        run_settings(tmp_path)


def test_a_hostile_constant_answer_is_shown_as_it_is(run: Path) -> None:
    hostile = "[/] [bold]x | y\x1b[2J"
    results = read_results(run)
    tracking = results.tasks["tracking"].model_copy(update={"constant_answer": hostile})
    changed = Results(tasks={**results.tasks, "tracking": tracking})
    console = Terminal(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(rich_table(changed))
    assert r"([/] [bold]x | y\x1b[2J)" in console.export_text()
    assert r"([/] [bold]x \| y\\x1b[2J)" in markdown_table(changed)
