"""The run's log: every stage in its file, resumed where it stopped, unharmed by a dashboard that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray.util.metrics

from cluster.records.json_lines import read_records
from cluster.records.metric_sinks import PREFIX, RayMetricsSink, WandbSink
from cluster.records.metrics import PerStage, SampleRecord, Stage, StepRecord, TaskRewards
from cluster.records.run_log import COLD_START_FILE, SAMPLES_FILE, STEPS_FILE, RunLog


def grpo_step(step: int, reward: float = 1.0) -> StepRecord:
    rewards = TaskRewards(reward=reward, components={"iou": 0.25}, responses=16)
    return StepRecord(step=step, tasks={"tracking": rewards}, tokens=PerStage(rollout=300), groups_dropped=2)


def sample(step: int) -> SampleRecord:
    return SampleRecord(
        step=step,
        prompt_id="p",
        task="tracking",
        index=0,
        response="",
        rewards={},
        total=0.0,
        weight_versions=[],
    )


def filled(run_dir: Path) -> Path:
    log = RunLog(run_dir)
    for step in (1, 2, 3):
        log.step(StepRecord(step=step, stage=Stage.COLD_START, loss=1.0))
    for step in (1, 2, 3):
        log.step(grpo_step(step))
        log.samples([sample(step), sample(step)])
    log.close()
    return run_dir


def steps(run_dir: Path) -> tuple[list[int], list[int], list[int]]:
    cold = [r.step for r in read_records(run_dir / COLD_START_FILE, StepRecord)]
    grpo = [r.step for r in read_records(run_dir / STEPS_FILE, StepRecord)]
    return cold, grpo, [r.step for r in read_records(run_dir / SAMPLES_FILE, SampleRecord)]


def test_each_stage_has_its_own_file(tmp_path: Path) -> None:
    assert steps(filled(tmp_path)) == ([1, 2, 3], [1, 2, 3], [1, 1, 2, 2, 3, 3])


def test_a_run_from_the_start_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    RunLog(filled(tmp_path)).close()
    assert steps(tmp_path) == ([], [], [])


def test_resuming_in_grpo_keeps_the_cold_start_and_the_steps_before(tmp_path: Path) -> None:
    RunLog(filled(tmp_path), stage=Stage.GRPO, after_step=2).close()
    assert steps(tmp_path) == ([1, 2, 3], [1, 2], [1, 1, 2, 2])


def test_resuming_in_the_cold_start_drops_all_of_grpo(tmp_path: Path) -> None:
    RunLog(filled(tmp_path), stage=Stage.COLD_START, after_step=1).close()
    assert steps(tmp_path) == ([1], [], [])


class BrokenSink:
    name = "broken"
    calls = 0

    def write(self, record: StepRecord) -> None:
        self.calls += 1
        raise ConnectionError("no route to host")

    def close(self, in_a_hurry: bool) -> None:
        self.calls += 1


def test_a_sink_that_fails_is_reported_once_and_the_others_go_on(tmp_path: Path) -> None:
    warnings: list[str] = []
    broken, seen = BrokenSink(), RecordingSink()
    log = RunLog(tmp_path, [broken, seen], warn=warnings.append)
    for step in (1, 2, 3):
        log.step(grpo_step(step))
    log.close()
    assert len(warnings) == 1 and "broken" in warnings[0] and "no route to host" in warnings[0]
    assert broken.calls == 1
    assert seen.steps == [1, 2, 3]
    assert steps(tmp_path)[1] == [1, 2, 3]


class RecordingSink:
    name = "recording"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def write(self, record: StepRecord) -> None:
        self.steps.append(record.step)

    def close(self, in_a_hurry: bool) -> None:
        pass


def test_ray_metrics_have_the_prefix_the_tags_and_counters_that_add_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gauges: dict[tuple[str, str, str], float] = {}
    counts: dict[tuple[str, str], float] = {}

    def set_gauge(self: ray.util.metrics.Gauge, value: float, tags: dict[str, str]) -> None:
        assert tags["run"] == "night" and set(tags) == set(self.info["tag_keys"])
        gauges[self.info["name"], tags["task"], tags["component"]] = value

    made: list[str] = []
    make = ray.util.metrics.Metric.__init__

    def make_once(self: ray.util.metrics.Metric, name: str, *details: object) -> None:
        make(self, name, *details)  # type: ignore[arg-type]
        made.append(name)

    def count(self: ray.util.metrics.Counter, value: float, tags: dict[str, str]) -> None:
        key = (self.info["name"], tags["task"] or tags["component"])
        counts[key] = counts.get(key, 0) + value

    monkeypatch.setattr("ray.util.metrics.Metric.__init__", make_once)
    monkeypatch.setattr("ray.util.metrics.Gauge.set", set_gauge)
    monkeypatch.setattr("ray.util.metrics.Counter.inc", count)
    sink = RayMetricsSink("night")
    sink.write(grpo_step(1, reward=0.5))
    sink.write(grpo_step(2, reward=0.75))
    assert len(made) == len(set(made)) > 10
    assert gauges[PREFIX + "reward", "tracking", "total"] == 0.75
    assert gauges[PREFIX + "reward", "tracking", "iou"] == 0.25
    assert gauges[PREFIX + "step", "", ""] == 2
    assert counts == {
        (PREFIX + "steps_total", ""): 2,
        (PREFIX + "groups_dropped_total", ""): 4,
        (PREFIX + "responses_total", "tracking"): 32,
        (PREFIX + "tokens_total", "rollout"): 600,
    }


WANDB_RUN = """
import sys
from pathlib import Path
from cluster.records import metric_sinks
from cluster.records.metric_sinks import WandbSink
from cluster.records.metrics import StepRecord
from cluster.records.run_log import RunLog
out = Path(sys.argv[1])
metric_sinks.WANDB_PATIENCE_S = 100.0  # the machine may be busy
log = RunLog(out, [WandbSink("offline", "tests", "night", out, {"run": {"seed": 3}})])
for step in (1, 2, 3):
    log.step(StepRecord(step=step, loss=0.5))
log.close()
"""


def test_wandb_records_offline_without_a_network_or_an_account(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    command = [sys.executable, "-c", WANDB_RUN, str(tmp_path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert b"grpo/loss" in file.read_bytes()


def slow_wandb(folder: Path, ending: str) -> Path:
    """A wandb whose import takes until the file returned is there."""
    go_on = folder / "go-on"
    (folder / "wandb.py").write_text(
        f"import pathlib, time\nwhile not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n{ending}\n"
    )
    return go_on


def test_a_wandb_that_cannot_start_costs_one_warning_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = slow_wandb(tmp_path, "raise ImportError('wandb is broken here')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    warnings: list[str] = []
    log = RunLog(tmp_path, [WandbSink("offline", "tests", "night", tmp_path, {})], warn=warnings.append)
    log.step(grpo_step(1))
    go_on.touch()  # a log that waited for wandb would not come here
    log.close()
    assert len(warnings) == 1 and "wandb is broken here" in warnings[0]
    assert json.loads((tmp_path / STEPS_FILE).read_text())["step"] == 1


def test_after_an_interrupt_wandb_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = slow_wandb(tmp_path, "")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    warnings: list[str] = []
    log = RunLog(tmp_path, [WandbSink("offline", "tests", "night", tmp_path, {})], warn=warnings.append)
    log.close(in_a_hurry=True)
    go_on.touch()
    assert len(warnings) == 1 and "not finished after 3 s" in warnings[0]
