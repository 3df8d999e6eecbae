"""The supervised stage: what it is trained on, and when it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.evaluation.greedy import Question
from cluster.inputs.prompt_mix import Pool, PromptStream
from cluster.inputs.prompts import PromptSet
from cluster.records.eval_records import EvalSample
from cluster.records.json_lines import read_records
from cluster.records.metrics import StepRecord
from cluster.records.run_log import RunLog
from cluster.training import cold_start as stage
from cluster.training.cold_start import cold_start, least_parsed, probe_prompts
from cluster.training.demonstration_batches import DemonstrationBatches
from data.schema import Task
from rewards import Score
from tests.cluster.fakes import FakeLearner, FakeProgress, FakeSystem, make_config, make_prompts

PROMPTS = make_prompts(6)
SET = PromptSet(PROMPTS, [], {prompt.id: prompt.id for prompt in PROMPTS})  # type: ignore[misc]


@pytest.fixture(autouse=True)
def plain_demonstrations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demonstration names its prompt."""
    monkeypatch.setattr(stage, "demonstrate", lambda scene, prompt: f"{scene}")
    monkeypatch.setattr(stage, "introduce", lambda scene, prompt: f"think of {scene}")


def answered(task: Task, parsed: list[bool]) -> list[EvalSample]:
    score = {flag: Score({"format": float(flag)}, float(flag), flag, None, None) for flag in (True, False)}
    return [
        EvalSample(prompt, "", score[flag])
        for prompt, flag in zip(make_prompts(9, task), parsed, strict=False)
    ]


def test_batches_follow_the_stream_and_pass_over_what_cannot_be_used() -> None:
    config = make_config(cold_start={"batch_size": 4}, run={"seed": 2})
    stream = PromptStream(PROMPTS, 2)
    broken = stream[1].id
    batches = DemonstrationBatches(config, FakeSystem(broken={broken}), SET)  # type: ignore[arg-type]
    rows = [*batches.next(stage.demonstrate), *batches.next(stage.demonstrate)]
    expected = [stream[position].id for position in range(20) if stream[position].id != broken][:8]
    assert [row.prompt.id for row in rows] == expected
    assert ["".join(map(chr, row.response_token_ids)) for row in rows] == expected
    assert [row.clip for row in rows] == [f"clip of {name}" for name in expected]
    # By these the ranks share the work: text, and 4 tokens of the clip.
    assert all(row.prompt_token_ids[-4:] == [1] * 4 and len(row.prompt_token_ids) > 4 for row in rows)


def test_a_prompt_without_a_scene_is_given_its_annotated_answer() -> None:
    prompts = [*make_prompts(2), *make_prompts(2, Task.MULTIPLE_CHOICE, "m")]
    config = make_config(cold_start={"batch_size": 4}, data={"template": "direct", "prefetch": 0})
    batches = DemonstrationBatches(config, FakeSystem(), PromptSet(prompts, [], {}))  # type: ignore[arg-type]
    texts = {
        row.prompt.id: "".join(map(chr, row.response_token_ids)) for row in batches.next(stage.introduce)
    }
    interval, letter = "<answer>1.00 to 2.00</answer>", "<answer>A</answer>"
    assert texts == {"p0": interval, "p1": interval, "m0": letter, "m1": letter}


def test_datasets_are_drawn_from_by_their_weights() -> None:
    pools = [Pool("many", PROMPTS, 1.0), Pool("few", make_prompts(2, prefix="f"), 3.0)]
    prompts = [prompt for pool in pools for prompt in pool.prompts]
    config = make_config(cold_start={"batch_size": 8}, data={"template": "direct"})
    batches = DemonstrationBatches(config, FakeSystem(), PromptSet(prompts, [], {}, pools))  # type: ignore[arg-type]
    drawn = [row.prompt.id[0] for row in batches.next(stage.demonstrate)]
    assert sorted(drawn) == ["f"] * 6 + ["p"] * 2


def test_clips_are_decoded_ahead_and_in_the_order_they_are_drawn() -> None:
    system = FakeSystem()
    config = make_config(cold_start={"batch_size": 2}, data={"prefetch": 1})
    batches = DemonstrationBatches(config, system, SET)  # type: ignore[arg-type]
    batches.next(stage.demonstrate)
    ahead = system.clips.prefetched
    batches.next(stage.demonstrate)
    assert system.clips.requested == ahead
    assert len(ahead) == 4


def test_the_probe_takes_the_tasks_in_turn_from_the_training_prompts() -> None:
    train = [*make_prompts(9, Task.TRACKING, "t"), *make_prompts(3, Task.MULTIPLE_CHOICE, "m")]
    probe = probe_prompts(train, 6, seed=0)
    assert [prompt.task for prompt in probe] == [Task.MULTIPLE_CHOICE, Task.TRACKING] * 3
    assert {prompt.id for prompt in probe} <= {prompt.id for prompt in train}
    assert probe == probe_prompts(train, 6, seed=0)


def test_an_easy_task_does_not_hide_a_hard_one() -> None:
    samples = answered(Task.TRACKING, [True] * 9) + answered(Task.MULTIPLE_CHOICE, [True, False])
    assert least_parsed(samples) == 0.5
    without_clip = EvalSample(make_prompts(1, Task.GROUNDED_QA)[0], "", None, problem="empty")
    assert least_parsed([*samples, without_clip]) == 0.0


def run_stage(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed: list[float],
    learner: FakeLearner | None = None,
    **fields: Any,
) -> tuple[FakeSystem, list[StepRecord], FakeProgress, Path]:
    """The stage with looks that find these shares, and checkpoints after every other step."""
    shares = iter(parsed)

    def ask(config: RunConfig, system: FakeSystem, questions: list[Question]) -> list[EvalSample]:
        share = next(shares)
        return answered(Task.TRACKING, [n < round(share * 9) for n in range(9)])

    monkeypatch.setattr(stage, "ask", ask)
    section = {"max_steps": 6, "check_every": 2, "batch_size": 2, "probe_prompts": 3} | fields
    config = make_config(folder, cold_start=section, checkpoint={"every_steps": 2})
    (config.run_dir / "cold_start_checkpoints").mkdir(parents=True)
    system, log, progress = FakeSystem(), RunLog(config.run_dir), FakeProgress()
    system.learner = learner or system.learner
    policy = cold_start(config, system, SET, log, progress, Path("tiny"))  # type: ignore[arg-type]
    log.close()
    return system, list(read_records(config.run_dir / "cold_start.jsonl", StepRecord)), progress, policy


def test_it_ends_as_soon_as_enough_answers_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, records, progress, policy = run_stage(tmp_path / "run", monkeypatch, [0.5, 1.0])
    assert [record.step for record in records] == [1, 2, 3, 4]
    assert [kind for kind, _ in system.learner.steps] == ["sft"] * 4
    # The rollout workers answer with the weights of that very step.
    assert system.events == ["learner on tiny", "connect 2", "sync 4"]
    assert [bool(record.tasks) for record in records] == [False, True, False, True]
    assert "100.0% of sampled answers parse" in progress.said[-1]
    assert policy == tmp_path / "run" / "cold_start_policy"
    assert policy.is_dir()


def test_the_policy_of_a_relative_run_folder_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, _, _, policy = run_stage(Path("run"), monkeypatch, [1.0])
    assert policy == tmp_path / "run" / "cold_start_policy"


def test_think_parts_come_first_and_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, records, _, _ = run_stage(tmp_path / "run", monkeypatch, [1.0], think_steps=3)
    assert [bool(record.tasks) for record in records] == [False, False, False, False, True]
    texts = ["".join(map(chr, batch[0].response_token_ids)) for _, batch in system.learner.steps]
    assert [text.startswith("think of ") for text in texts] == [True, True, True, False, False]


def test_without_enough_of_them_it_ends_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, records, progress, _ = run_stage(tmp_path / "run", monkeypatch, [0.1, 0.2, 0.3])
    assert len(records) == 6
    (warning,) = progress.warnings
    assert "cold_start.max_steps = 6" in warning


def test_the_workers_go_on_with_the_policy_that_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _, _, _ = run_stage(tmp_path / "run", monkeypatch, [0.1, 0.2], max_steps=5)
    assert system.events == ["learner on tiny", "connect 2", "sync 4", "sync 5"]


def test_without_a_target_it_goes_on_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, records, progress, _ = run_stage(tmp_path / "run", monkeypatch, [1.0, 1.0, 1.0], parse_target=None)
    assert len(records) == 6
    assert progress.warnings == []


def test_a_stage_that_was_killed_goes_on_with_the_batches_that_would_have_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: dict[str, Any] = {"parsed": [0.1, 0.2, 0.3], "think_steps": 1, "max_steps": 7}
    whole, _, _, _ = run_stage(tmp_path / "whole", monkeypatch, **looks)
    killed = FakeLearner(dies_at=6)
    with pytest.raises(KeyboardInterrupt):
        run_stage(tmp_path / "killed", monkeypatch, learner=killed, **looks)
    assert [state["step"] for state in killed.saved] == [2, 4]
    assert killed.written == ["cold_start_checkpoints"] * 2
    resumed = FakeLearner(checkpoint=json.loads(json.dumps(killed.saved[-1])))
    system, records, progress, _ = run_stage(
        tmp_path / "resumed", monkeypatch, learner=resumed, **{**looks, "parsed": [0.2, 0.3]}
    )
    assert batches_of(resumed) == batches_of(whole.learner)[4:]
    assert [record.step for record in records] == [5, 6, 7]
    assert progress.stages == [("cold start", 7, 4)]
    assert system.events == ["learner on tiny", "connect 5", "sync 7"]
    assert "step-3 is torn" in progress.warnings


def test_a_stage_that_was_killed_at_its_end_leaves_its_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FakeLearner()
    run_stage(tmp_path / "whole", monkeypatch, [0.1, 0.2, 0.3], learner=whole)
    resumed = FakeLearner(checkpoint=whole.saved[-1])
    system, records, _, policy = run_stage(tmp_path / "run", monkeypatch, [], learner=resumed)
    assert (records, resumed.steps, system.events) == ([], [], ["learner on tiny", "connect 6"])
    assert policy.is_dir()


def test_a_stage_that_may_end_writes_no_checkpoint_and_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, _, _, policy = run_stage(tmp_path / "run", monkeypatch, [0.5, 1.0])
    assert [state["step"] for state in system.learner.saved] == [2]
    assert policy.is_dir()
    assert not (tmp_path / "run" / "cold_start_checkpoints").exists()


def batches_of(learner: FakeLearner) -> list[list[str]]:
    """Ids of the prompts of every step."""
    return [[sample.prompt.id for sample in batch] for _, batch in learner.steps]
