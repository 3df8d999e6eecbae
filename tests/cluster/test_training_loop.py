"""The loop: what happens in which order, what a checkpoint says, and what stops it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RunFailure
from cluster.inputs.prompt_mix import PromptStream
from cluster.inputs.prompts import PromptSet
from cluster.records.json_lines import read_records
from cluster.records.metrics import SampleRecord, StepRecord
from cluster.records.run_log import RunLog
from cluster.training import training_loop
from cluster.training.frontier import Frontier, last_frontier
from cluster.training.training_loop import check_mismatch, learn, train
from learner.checkpoint import seal, unfinished_name
from learner.report import StepReport, StepSums
from learner.settings import BatchSize
from tests.cluster.fakes import FakeProgress, FakeSystem, make_config, make_prompts

PROMPTS = PromptSet(make_prompts(10), make_prompts(2, prefix="h"), {})


def run_loop(
    folder: Path, system: FakeSystem, start: Frontier | None = None, **grpo: Any
) -> tuple[list[StepRecord], list[SampleRecord], FakeProgress]:
    config = make_config(
        folder,
        rollout={"group_size": 2},
        grpo={"steps": 5, "prompts_per_step": 2} | grpo,
        checkpoint={"every_steps": 2},
    )
    config.run_dir.mkdir(parents=True, exist_ok=True)
    log, progress = RunLog(config.run_dir), FakeProgress()
    system.connected = True
    try:
        train(config, system, PROMPTS, log, progress, start or Frontier())  # type: ignore[arg-type]
    finally:
        log.close()
    steps = list(read_records(config.run_dir / "metrics.jsonl", StepRecord))
    samples = list(read_records(config.run_dir / "samples.jsonl", SampleRecord))
    return steps, samples, progress


def test_every_step_learns_syncs_and_is_recorded(tmp_path: Path) -> None:
    system = FakeSystem()
    steps, samples, progress = run_loop(tmp_path / "run", system)
    assert [kind for kind, _ in system.learner.steps] == ["grpo"] * 5
    assert system.events == [f"sync {version}" for version in range(1, 6)]
    assert [(r.step, r.weight_version, r.staleness_max) for r in steps] == [(n, n, 0.0) for n in range(1, 6)]
    assert len(samples) == 5 * 2 * 2
    assert progress.stages == [("GRPO", 5, 0)]


def test_a_checkpoint_stands_behind_the_step_that_was_synced(tmp_path: Path) -> None:
    system = FakeSystem()
    run_loop(tmp_path / "run", system)
    saved = system.learner.saved
    assert [(state["step"], state["version"], state["curriculum"]["mix"]["number"]) for state in saved] == [
        (2, 2, 4),
        (4, 4, 8),
        (5, 5, 10),
    ]
    assert [state["drawn"] for state in saved] == [[]] * 3


def test_a_policy_is_written_with_every_checkpoint_and_never_later(tmp_path: Path) -> None:
    """A run that is killed between the two and resumed goes on from the checkpoint before, and writes both again."""
    system = FakeSystem()
    run_loop(tmp_path / "run", system)
    assert system.learner.written == ["policy", "checkpoints"] * 3
    assert (tmp_path / "run" / "policy").is_dir()


def test_a_resumed_loop_does_the_steps_that_are_left_with_their_prompts(tmp_path: Path) -> None:
    before, system = FakeSystem(), FakeSystem()
    _, whole, _ = run_loop(tmp_path / "whole", before)
    state = json.loads(json.dumps(before.learner.saved[0]))
    system.version = 7
    steps, left, progress = run_loop(tmp_path / "left", system, Frontier(**state | {"version": 7}))
    assert [(r.step, r.weight_version) for r in steps] == [(3, 8), (4, 9), (5, 10)]
    assert [s.prompt_id for s in left] == [s.prompt_id for s in whole if s.step > 2]
    assert progress.stages == [("GRPO", 5, 2)]


def test_a_step_without_a_useful_group_changes_nothing_and_goes_on(tmp_path: Path) -> None:
    system = FakeSystem(flat={prompt.id for prompt in PROMPTS.train})
    steps, _, _ = run_loop(tmp_path / "run", system)
    assert system.learner.steps == []
    assert [(r.loss, r.mismatch, r.groups_dropped) for r in steps] == [(None, None, 2)] * 5


def test_too_large_a_mismatch_stops_the_run_after_it_was_recorded(tmp_path: Path) -> None:
    system = FakeSystem()
    system.learner.mismatch = 1.06
    with pytest.raises(RunFailure, match=r"Step 1: rollout and learner disagree.* 1\.0600.*is 1\.05"):
        run_loop(tmp_path / "run", system)
    (record,) = read_records(tmp_path / "run" / "metrics.jsonl", StepRecord)
    assert record.mismatch == pytest.approx(1.06)
    assert system.learner.saved == []


@pytest.mark.parametrize(
    ("mismatch", "stops"), [(1.0, False), (1.05, False), (1.0501, True), (math.nan, True)]
)
def test_the_mismatch_bound(mismatch: float, stops: bool) -> None:
    report = StepReport(1, StepSums(mismatch=mismatch * 8, tokens=8), 1.0, 1e-3)
    warnings: list[str] = []
    if stops:
        with pytest.raises(RunFailure):
            check_mismatch(1, report, make_config(), warnings.append)
    else:
        check_mismatch(1, report, make_config(), warnings.append)
    check_mismatch(1, None, make_config(), warnings.append)
    assert warnings == []


def test_in_bfloat16_the_first_steps_warn_with_the_figure() -> None:
    """Kernels round differently from machine to machine: whoever sets the bound has to see what there is."""
    config = make_config(model={"dtype": "bfloat16"}, learner={"zero_stage": 1})
    beyond, broken = (StepReport(1, StepSums(mismatch=m * 8, tokens=8), 1.0, 1e-3) for m in (1.08, math.nan))
    warnings: list[str] = []
    for step in (1, 2, 3):
        check_mismatch(step, beyond, config, warnings.append)
    assert len(warnings) == 3 and all("1.0800" in warning and "1.05" in warning for warning in warnings)
    with pytest.raises(RunFailure, match=r"1\.0800"):
        check_mismatch(4, beyond, config, warnings.append)
    with pytest.raises(RunFailure, match="nan"):
        check_mismatch(1, broken, config, warnings.append)


def test_one_group_can_be_shared_by_two_ranks(tmp_path: Path) -> None:
    system = FakeSystem(flat={prompt.id for prompt in PROMPTS.train[1:]})
    run_loop(tmp_path / "run", system, steps=1, prompts_per_step=10)
    ((_, rows),) = system.learner.steps
    assert {row.prompt.id for row in rows} == {"p0"}
    assert learn(system, [], [], make_config()) is None  # type: ignore[arg-type]


def test_groups_without_a_spread_take_no_pass_and_count_in_the_means(tmp_path: Path) -> None:
    """Else what the rewards say would move what the loss is divided by."""
    system = FakeSystem(flat={"p1", "p2", "p3"})
    run_loop(tmp_path / "run", system, steps=1, prompts_per_step=10, updates_per_step=2)
    rows = [len(its) for _, its in system.learner.steps]
    # Groups of two responses of two tokens each.
    assert sum(rows) == 2 * 7
    assert system.learner.sizes == [BatchSize(tokens=20, responses=10)] * 2


def test_what_takes_the_place_of_others_counts_alone(tmp_path: Path) -> None:
    system = FakeSystem(flat={"p1", "p2", "p3"})
    run_loop(tmp_path / "run", system, steps=1, prompts_per_step=4, dynamic_sampling=9)
    ((_, rows),), (size,) = system.learner.steps, system.learner.sizes
    assert size == BatchSize(tokens=2 * len(rows), responses=len(rows))


def test_dynamic_sampling_replaces_groups_without_a_spread(tmp_path: Path) -> None:
    system = FakeSystem(flat={"p1", "p2", "p3"})
    steps, samples, _ = run_loop(tmp_path / "run", system, steps=2, prompts_per_step=4, dynamic_sampling=9)
    for (_, rows), record in zip(system.learner.steps, steps, strict=True):
        assert len({row.prompt.id for row in rows}) == 4
        assert not {row.prompt.id for row in rows} & system.rewards.flat
        assert record.groups_dropped == len({s.prompt_id for s in samples if s.step == record.step}) - 4
    trained = [row.prompt.id for _, rows in system.learner.steps for row in rows[::2]]
    stream = PromptStream(PROMPTS.train, 0)
    in_order = [stream[place].id for place in range(20) if stream[place].id not in system.rewards.flat]
    assert trained == in_order[:8]


def test_dynamic_sampling_gives_up_after_its_rounds(tmp_path: Path) -> None:
    system = FakeSystem(flat={prompt.id for prompt in PROMPTS.train})
    steps, samples, _ = run_loop(tmp_path / "run", system, steps=1, prompts_per_step=2, dynamic_sampling=3)
    assert system.learner.steps == []
    assert (len(samples) / 2, steps[0].groups_dropped) == (8, 8)


def test_several_updates_share_the_groups_of_a_step(tmp_path: Path) -> None:
    system = FakeSystem()
    steps, samples, _ = run_loop(tmp_path / "run", system, steps=2, prompts_per_step=5, updates_per_step=2)
    counts = [len({row.prompt.id for row in rows}) for _, rows in system.learner.steps]
    assert counts == [2, 3, 2, 3]
    assert [len(system.events), len(steps)] == [2, 2]
    assert [row.prompt.id for _, rows in system.learner.steps for row in rows] == [
        s.prompt_id for s in samples
    ]
    assert (steps[0].loss, steps[0].grad_norm, steps[0].tokens.learn) == (0.25, 0.5, 20)


def test_only_the_first_update_of_a_step_is_asked_whether_rollout_and_learner_agree(tmp_path: Path) -> None:
    """The later ones find a policy that has learned in between."""
    system = FakeSystem()
    system.learner.drift = 0.5
    steps, _, _ = run_loop(tmp_path / "run", system, steps=1, prompts_per_step=6, updates_per_step=3)
    assert len(system.learner.steps) == 3
    assert steps[0].mismatch == pytest.approx(1.0)
    system.learner.mismatch = 1.06
    with pytest.raises(RunFailure, match=r"1\.0600"):
        run_loop(tmp_path / "again", system, steps=1, prompts_per_step=6, updates_per_step=3)


def test_advantages_are_normalised_over_the_batch_that_is_trained_on(tmp_path: Path) -> None:
    """Neither over what was turned away nor over one round of dynamic sampling."""
    system = FakeSystem(flat={"p1", "p2", "p3"})
    _, samples, _ = run_loop(
        tmp_path / "run",
        system,
        steps=1,
        prompts_per_step=4,
        dynamic_sampling=9,
        objective="reinforce_pp_baseline",
    )
    ((_, rows),) = system.learner.steps
    assert len(samples) > len(rows) == 8
    # Rewards of a group differ by 1: half of it, divided by its standard deviation over the eight responses.
    assert [row.advantage for row in rows] == pytest.approx(
        [-0.5 / (2 / 7) ** 0.5, 0.5 / (2 / 7) ** 0.5] * 4, abs=1e-3
    )
    trained = {row.prompt.id for row in rows}
    assert all((sample.advantage is not None) == (sample.prompt_id in trained) for sample in samples)


def test_evaluations_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    monkeypatch.setattr(training_loop, "evaluate", lambda *arguments: stages.append(arguments[3]))
    config = make_config(tmp_path / "run", evaluation={"every_steps": 2}, grpo={"steps": 5})
    config.run_dir.mkdir()
    progress = FakeProgress()
    train(config, FakeSystem(), PROMPTS, RunLog(config.run_dir), progress, Frontier())  # type: ignore[arg-type]
    assert stages == ["step_2", "step_4"]
    assert progress.stages == [("GRPO", 5, 0), ("GRPO", 5, 2), ("GRPO", 5, 4)]


def test_the_frontier_is_read_from_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    folder = config.run_dir / "checkpoints"
    assert last_frontier(config) == Frontier()
    for step in (2, 4):
        (folder / unfinished_name(step)).mkdir(parents=True)
        (folder / unfinished_name(step) / "states.pt").write_bytes(b"x" * 10)
        seal(folder, step, vars(Frontier(step, step + 3, {"seen": 10 * step})), {}, keep=2)
    assert last_frontier(config) == Frontier(4, 7, {"seen": 40}, [])
    (folder / "step-00000004" / "states.pt").write_bytes(b"x")
    assert last_frontier(config) == Frontier(2, 5, {"seen": 20}, [])
    assert json.loads((folder / "step-00000002" / "client_state.json").read_text())["version"] == 5


@pytest.mark.parametrize(
    "state",
    [
        {"step": "4"},
        {"step": -1},
        {"step": True},
        {"version": None},
        {"curriculum": []},
        {"drawn": 3},
        {"drawn": [[1]]},
        {"another": 1},
    ],
)
def test_a_checkpoint_that_says_not_where_training_stands_is_refused(
    tmp_path: Path, state: dict[str, Any]
) -> None:
    config = make_config(tmp_path / "run")
    folder = config.run_dir / "checkpoints"
    (folder / unfinished_name(4)).mkdir(parents=True)
    seal(folder, 4, state, {}, keep=2)
    with pytest.raises(RunFailure, match="step-00000004 is of another version, or damaged"):
        last_frontier(config)
