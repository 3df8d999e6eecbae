"""The bonus for the order of frames: who earns it, what it changes, and what it must never reach."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import pytest

from actors.rollout_fleet import RolloutRequest
from cluster.inputs.prompt_mix import Pool, PromptMix, PromptStream
from cluster.training.curriculum import AdmissionGate
from cluster.training.experience import GroupProducer
from cluster.training.groups import set_advantages
from cluster.training.shuffle_bonus import FORMS, order_bonus
from cluster.training.step_records import order_metrics
from data.records import Response, Rollout
from data.schema import Task
from rewards import Score
from tests.cluster.fakes import FakeFleet, FakeSystem, make_config, make_prompts

SEED = 5
PAPER, CODE = FORMS["paper"], FORMS["code"]


@pytest.mark.parametrize(
    ("form", "ordered", "shuffled", "expected"),
    [
        (PAPER, [1, 0, 1, 0], [1, 0], [0.3, 0, 0.3, 0]),  # as good as shuffled: earned
        (PAPER, [1, 0, 0, 0], [1, 0], [0, 0, 0, 0]),
        (PAPER, [0, 0, 0, 0], [0, 0], [0, 0, 0, 0]),  # earned by nobody
        (PAPER, [0.5, 0.49, 0.9, 0.1], [0.49, 0.9], [0.3, 0, 0.3, 0]),
        (CODE, [1, 1, 0, 0], [1, 0], [0.3, 0.3, 0, 0]),
        (CODE, [0.8, 0.8, 0.8, 0.8], [1, 1], [0.3, 0.3, 0.3, 0.3]),  # 0.8 of it is enough
        (CODE, [0.79, 0.79, 0.79, 0.79], [1, 1], [0, 0, 0, 0]),
        (CODE, [0.1, 0.11, 0.0, 1.0], [0, 0], [0, 0.3, 0, 0.3]),
    ],
)
def test_right_responses_gain_where_order_does_no_harm(
    form: Any, ordered: list[float], shuffled: list[float], expected: list[float]
) -> None:
    assert order_bonus(ordered, shuffled, form, 0.3).bonuses == expected


def test_the_forms_measure_accuracy_differently() -> None:
    values = [0.6, 0.2]
    assert order_bonus(values, values, PAPER, 1.0).ordered == 0.5
    assert order_bonus(values, [0.4, 0.2], CODE, 1.0).shuffled == pytest.approx(0.3)


class Fleet(FakeFleet):
    """Answers in order are right from the second on; on shuffled frames only those to even prompts are."""

    def _rollout(self, request: RolloutRequest) -> Rollout:
        number = int(request.prompt.id[1:])
        right = [
            index > 0 if request.shuffle_seed is None else number % 2 == 0
            for index in range(request.sampling.group_size)
        ]
        responses = [
            Response(n, [5, 6 + n], "right" if is_right else "wrong", [-0.5, -0.1], "stop", [(0, 2, 0)])
            for n, is_right in enumerate(right)
        ]
        return Rollout(request.prompt, [1, 2, 3], responses)


class Rewards:
    def score(self, rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        values = [[float(response.text == "right") for response in r.responses] for r in rollouts]
        return [
            [Score({"accuracy": v, "format": 1.0}, v + 1.0, True, None, None) for v in its] for its in values
        ]


def produce(task: Task = Task.MULTIPLE_CHOICE, **reward: Any) -> tuple[FakeSystem, GroupProducer]:
    system = FakeSystem()
    system.fleet, system.rewards = Fleet(system), Rewards()  # type: ignore[assignment]
    config = make_config(rollout={"group_size": 4}, grpo={"prompts_per_step": 4}, reward=reward)
    mix = PromptMix([Pool("", make_prompts(4, task), 1.0)], SEED, by_task=False)
    return system, GroupProducer(config, system, mix, AdmissionGate(config, mix))  # type: ignore[arg-type]


BONUS = {"shuffle_bonus": {Task.MULTIPLE_CHOICE: 0.25}}


def test_each_group_has_half_a_group_on_its_own_clip_shuffled() -> None:
    system, producer = produce(**BONUS)
    producer.fill(0)
    (batch,) = system.fleet.batches
    usual, shuffled = batch[:4], batch[4:]
    assert [request.prompt.id for request in shuffled] == [request.prompt.id for request in usual]
    assert [(r.clip, r.text) for r in shuffled] == [(r.clip, r.text) for r in usual]
    assert [r.sampling.group_size for r in batch] == [4] * 4 + [2] * 4
    assert [r.shuffle_seed for r in batch] == [None] * 4 + [r.sampling.seed for r in usual]
    assert len({r.shuffle_seed for r in shuffled}) == 4


def test_the_bonus_enters_before_advantages_and_only_where_it_is_earned() -> None:
    _, producer = produce(**BONUS)
    producer.fill(0)
    groups = producer.take(1, 4).groups
    set_advantages(groups, make_config())
    for group in groups:
        # Right three times of four: no worse than never right, worse than always right.
        bonus = 0.0 if int(group.rollout.prompt.id[1:]) % 2 == 0 else 0.25
        assert group.rewards == [1.0] + [2.0 + bonus] * 3
        assert [score.total for score in group.scores] == [1.0, 2.0, 2.0, 2.0], "scores stay as measured"
        assert group.advantages[1] > 0 > group.advantages[0]
        assert fmean(group.advantages) == pytest.approx(0.0, abs=1e-6)


def test_shuffled_rollouts_are_never_trained_on() -> None:
    _, producer = produce(**BONUS)
    producer.fill(0)
    groups = producer.take(1, 4).groups
    set_advantages(groups, make_config())
    rows = [row for group in groups for row in group.samples()]
    assert len(rows) == 4 * 4


@pytest.mark.parametrize("bonus", [{}, {Task.TEMPORAL_GROUNDING: 0.25}])
def test_other_tasks_are_sampled_once_and_gain_nothing(bonus: dict[Task, float]) -> None:
    system, producer = produce(shuffle_bonus=bonus)
    producer.fill(0)
    groups = producer.take(1, 4).groups
    assert len(system.fleet.submitted) == 4
    assert [(group.rewards, group.order) for group in groups] == [([1.0, 2.0, 2.0, 2.0], None)] * 4
    assert order_metrics(groups) == {}


def test_the_step_says_how_much_order_matters() -> None:
    _, producer = produce(**BONUS)
    producer.fill(0)
    assert order_metrics(producer.take(1, 4).groups) == {
        "order_bonus_share": 0.5,
        "accuracy_ordered": 0.75,
        "accuracy_shuffled": 0.5,
    }


def test_groups_stay_with_their_shuffled_ones_around_a_broken_clip() -> None:
    system, producer = produce(**BONUS)
    system.clips.broken = {PromptStream(make_prompts(4), SEED)[1].id}
    producer.fill(0)
    taken = producer.take(1, 4)
    assert taken.skipped == 1
    for group in taken.groups:
        assert group.order is not None
        assert group.order.shuffled == float(int(group.rollout.prompt.id[1:]) % 2 == 0)
