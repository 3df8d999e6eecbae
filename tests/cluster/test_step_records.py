"""The records of a step say what happened in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cluster.records.metrics import Stage
from cluster.training.experience import Taken
from cluster.training.groups import Group
from cluster.training.step_records import failed, sample_records, step_record, task_rewards, task_rewards_of
from data.records import Response, Rollout
from data.schema import Task
from learner.report import StepReport, StepSums
from rewards import Score
from tests.cluster.fakes import FakeSystem, make_prompts


def score(total: float, reason: str | None = None, **components: float) -> Score:
    return Score(components or {"iou": total}, total, True, None, reason)


def group(task: Task, totals: list[float], staleness: int = 0, reason: str | None = None) -> Group:
    (prompt,) = make_prompts(1, task, prefix=f"{task}-")
    responses = [
        Response(
            n, list(range(n + 1)), f"text {n}", [-0.1] * (n + 1), ("stop", "length")[n % 2], [(0, n + 1, 4)]
        )
        for n in range(len(totals))
    ]
    scores = [score(total, reason) for total in totals]
    advantages = [total - 1 for total in totals]
    return Group(Rollout(prompt, [1, 2, 3], responses), "clip", scores, totals, staleness, advantages)


GROUPS = [
    group(Task.TRACKING, [0.0, 1.0], staleness=1),
    group(Task.MULTIPLE_CHOICE, [2.0, 2.0, 2.0], reason="custom reward raised KeyError('mood')"),
]
REPORT = StepReport(
    4,
    StepSums(loss=0.5, entropy=6.0, mismatch=4.0, kl=0.0, clipped=1.0, tokens=4),
    0.7,
    1e-3,
    {"a": 1.0, "b": 2.0},
    imbalance=1.25,
)


def test_a_step_in_figures() -> None:
    system = FakeSystem(broken={"p1"})
    system.version = 9
    taken = Taken(GROUPS, skipped=2, seconds={"decode": 0.1, "rollout": 0.2, "reward": 0.3})
    record = step_record(4, system, taken, GROUPS[:1], REPORT, 0.4, 5.0, {"admitted": 0.5})  # type: ignore[arg-type]
    assert (record.step, record.stage, record.weight_version) == (4, Stage.GRPO, 9)
    assert (record.loss, record.entropy, record.mismatch, record.clip_fraction) == (0.5, 1.5, 1.0, 0.25)
    assert (record.grad_norm, record.learning_rate, record.kl) == (0.7, 1e-3, None)
    assert record.rank_imbalance == 1.25
    assert (record.staleness_mean, record.staleness_max) == (0.5, 1)
    assert record.curriculum == {"admitted": 0.5}
    assert record.response_length_mean == pytest.approx((1 + 2 + 1 + 2 + 3) / 5)
    assert (record.response_length_max, record.truncated_share) == (3, pytest.approx(2 / 5))
    assert (record.groups_dropped, record.clips_skipped, record.clips_quarantined) == (1, 2, 1)
    assert (record.rewards_failed, record.cache_hit_rate) == (3, 0.75)
    assert (record.judge_requests, record.judge_fallbacks) == (7, None)
    seconds = {"decode": 0.1, "rollout": 0.2, "reward": 0.3, "learn": 3.0, "sync": 0.4, "total": 5.0}
    assert record.seconds.model_dump() == seconds
    assert (record.tokens.rollout, record.tokens.learn, record.tokens.total) == (9, 4, 15)
    assert record.features_found == 11
    assert record.host_used_gib is not None
    assert record.host_used_gib > 0


def test_without_an_update_there_are_no_figures_of_one() -> None:
    taken = Taken(GROUPS, skipped=0)
    record = step_record(1, FakeSystem(), taken, [], None, 0.4, 5.0, {})  # type: ignore[arg-type]
    assert (record.loss, record.mismatch, record.grad_norm, record.learning_rate) == (None,) * 4
    assert record.groups_dropped == 2


def test_rewards_are_averaged_by_task_and_component() -> None:
    found = task_rewards([*GROUPS, group(Task.TRACKING, [0.5, 0.5])])
    assert list(found) == ["multiple_choice", "tracking"]
    assert (found["tracking"].reward, found["tracking"].responses) == (0.5, 4)
    parts = task_rewards_of([("t", score(1.0, a=0.0, b=1.0)), ("t", score(0.5, a=0.5, b=0.0))])
    assert parts["t"].components == {"a": 0.25, "b": 0.5}
    assert parts["t"].reward == 0.75
    # A function that failed says nothing of its components: each is 0.
    failing = [("t", score(0.0, custom=0.0)), ("t", score(1.5, a=0.5, b=1.0))]
    assert task_rewards_of(failing)["t"].components == {"custom": 0.0, "a": 0.25, "b": 0.5}


def test_a_sample_has_the_score_and_the_advantage_of_its_own_response() -> None:
    late = replace(GROUPS[1], rollout=replace(GROUPS[1].rollout, starts_at=4.0))
    records = list(sample_records(3, [GROUPS[0], late]))
    assert [r.starts_at for r in records] == [0.0, 0.0, 4.0, 4.0, 4.0]
    assert [(r.prompt_id, r.index) for r in records] == [
        ("tracking-0", 0),
        ("tracking-0", 1),
        ("multiple_choice-0", 0),
        ("multiple_choice-0", 1),
        ("multiple_choice-0", 2),
    ]
    second = records[1]
    assert (second.response, second.total, second.advantage) == ("text 1", 1.0, 0.0)
    assert (second.tokens, second.finish_reason, second.weight_versions) == (2, "length", [(0, 2, 4)])
    assert records[2].reason == "custom reward raised KeyError('mood')"


def test_only_the_users_functions_can_fail() -> None:
    assert failed(score(0.0, "custom reward returned {'a': nan}"))
    assert not failed(score(0.0, "no answer block"))
    assert not failed(replace(score(0.0), reason=None))
