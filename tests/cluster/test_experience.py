"""The producing side: what is submitted when, what comes out in which order, and which rows the learner gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.errors import RunFailure
from cluster.inputs.prompt_mix import Pool, PromptMix, PromptStream
from cluster.training.curriculum import AdmissionGate
from cluster.training.experience import SEED_STRIDE, GroupProducer
from cluster.training.groups import set_advantages
from data.records import Rollout
from data.schema import Task
from rewards import Score
from tests.cluster.fakes import FakeSystem, make_config, make_prompts, own_score

SEED = 5
PROMPTS = make_prompts(10)
STREAM = PromptStream(PROMPTS, SEED)


class Produced(GroupProducer):
    """A producer whose curriculum is at hand."""

    def __init__(self, config: RunConfig, system: FakeSystem, pools: Sequence[Pool], state: str = "") -> None:
        mix = PromptMix(pools, config.run.seed, config.data.batches == "by_task")
        self.curriculum = AdmissionGate(config, mix)
        drawn: list[Any] = []
        if state:
            choices, drawn = json.loads(state)
            self.curriculum.load_state_dict(choices)
        super().__init__(config, system, mix, self.curriculum, drawn)  # type: ignore[arg-type]

    def state(self) -> str:
        """What a checkpoint has of it."""
        return json.dumps([self.curriculum.state_dict(), self.waiting])


def make_producer(
    system: FakeSystem,
    max_staleness: int = 0,
    steps: int = 100,
    prefetch: int = 2,
    state: str = "",
    pools: Sequence[Pool] = (Pool("", PROMPTS, 1.0),),
    **data: Any,
) -> Produced:
    config = make_config(
        run={"seed": SEED},
        rollout={"group_size": 4},
        grpo={"prompts_per_step": 3, "steps": steps, "max_staleness": max_staleness},
        data={"prefetch": prefetch} | data,
    )
    return Produced(config, system, pools, state)


def in_stream(start: int, stop: int) -> list[str]:
    return [STREAM[position].id for position in range(start, stop)]


def taken_ids(taken: Any) -> list[str]:
    return [group.rollout.prompt.id for group in taken.groups]


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_no_more_steps_are_under_way_than_the_staleness_bound_allows(bound: int) -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=bound)
    for trained in range(4):
        producer.fill(trained)
        producer.fill(trained)
        under_way = len(system.fleet.submitted) - 3 * trained
        assert under_way == 3 * (1 + bound)
        producer.take(trained + 1, 3)


def test_on_policy_a_step_starts_together_and_asynchronously_it_does_not() -> None:
    for bound, together in ((0, True), (1, False)):
        system = FakeSystem()
        make_producer(system, max_staleness=bound).fill(0)
        assert set(system.fleet.together) == {together}


def test_nothing_is_submitted_beyond_the_last_step() -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=5, steps=2)
    producer.fill(0)
    assert len(system.fleet.submitted) == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_ends_the_run_and_is_named(
    value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a spread of NaN, which turns its group away, nor its advantages may pass in silence."""
    system = FakeSystem()
    score = system.rewards.score
    wrong = in_stream(1, 2)[0]

    def broken(rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        return [
            [
                replace(one, total=value) if n == 2 and r.prompt.id == wrong else one
                for n, one in enumerate(its)
            ]
            for r, its in zip(rollouts, score(rollouts, by_rule), strict=True)
        ]

    monkeypatch.setattr(system.rewards, "score", broken)
    producer = make_producer(system)
    producer.fill(0)
    with pytest.raises(RunFailure, match=f"response 2 to prompt {wrong} has a reward of {value}"):
        producer.take(1, 3)


def test_groups_come_out_in_the_order_of_the_stream() -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=2)
    found = []
    for trained in range(4):
        producer.fill(trained)
        found += taken_ids(producer.take(trained + 1, 3))
    assert found == in_stream(0, 12)


def test_staleness_is_counted_in_weight_versions() -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=2)
    producer.fill(0)
    assert [group.staleness for group in producer.take(1, 3).groups] == [0, 0, 0]
    system.sync(1)
    system.sync(2)
    assert [group.staleness for group in producer.take(2, 3).groups] == [2, 2, 2]


def test_prompts_that_cannot_be_used_are_passed_over_and_counted() -> None:
    order = in_stream(0, 10)
    system = FakeSystem(broken={order[1], order[3], order[4]})
    producer = make_producer(system)
    producer.fill(0)
    first = producer.take(1, 3)
    assert taken_ids(first) == [order[0], order[2], order[5]]
    assert (first.skipped, producer.waiting) == (3, [])
    producer.fill(1)
    second = producer.take(2, 3)
    assert taken_ids(second) == order[6:9]
    assert (second.skipped, producer.waiting) == (0, [])


@pytest.mark.parametrize("batches", ["mixed", "by_task"])
@pytest.mark.parametrize("bound", [0, 1, 3])
@pytest.mark.parametrize("lost", [(0, 0, 0, 0, 0, 0, 0), (1, 2, 0, 3, 1, 0, 2)])
def test_a_producer_goes_on_from_its_state_without_a_gap(
    bound: int, lost: Sequence[int], batches: str
) -> None:
    """What was submitted and not taken is submitted again, whatever a step took of it to fill itself up."""
    broken = {*in_stream(2, 4), "c1"}
    pools = (Pool("a", PROMPTS, 2.0), Pool("b", make_prompts(6, Task.MULTIPLE_CHOICE, "c"), 1.0))

    def steps(producer: Produced, numbers: range) -> list[Any]:
        found = []
        for step in numbers:
            producer.fill(step - 1)
            for count in (3, lost[step]):
                taken = producer.take(step, count) if count else None
                found.append((taken and (taken_ids(taken), taken.skipped), producer.waiting))
        return found

    def make(state: str = "") -> Produced:
        return make_producer(FakeSystem(broken), bound, 6, 2, state, pools, batches=batches)

    expected = steps(make(), range(1, 7))
    before = make()
    found = steps(before, range(1, 4))
    assert found + steps(make(before.state()), range(4, 7)) == expected
    assert len({name for taken, _ in expected if taken for name in taken[0]}) > 8


def test_every_draw_has_a_seed_of_its_own_that_a_resume_repeats() -> None:
    systems = FakeSystem(), FakeSystem()
    whole = make_producer(systems[0], max_staleness=3)
    whole.fill(0)
    for step in (1, 2):
        whole.take(step, 3)
    resumed = make_producer(systems[1], state=whole.state())
    resumed.fill(2)
    sampled = [request.sampling for batch in systems[0].fleet.batches for request in batch]
    assert len({sampling.seed for sampling in sampled}) == 12
    assert [sampling.seed for sampling in sampled] == [SEED * SEED_STRIDE + number for number in range(12)]
    again = [request for batch in systems[1].fleet.batches for request in batch]
    assert [(r.prompt.id, r.sampling) for r in again] == list(zip(in_stream(6, 12), sampled[6:], strict=True))


def test_a_step_takes_more_than_was_submitted_at_any_time() -> None:
    """Groups that are not admitted are replaced, also in the last steps, for which nothing is submitted ahead."""
    system = FakeSystem()
    producer = make_producer(system, max_staleness=1, steps=2)
    producer.fill(0)
    assert taken_ids(producer.take(1, 3)) + taken_ids(producer.take(1, 2)) == in_stream(0, 5)
    producer.fill(1)
    assert taken_ids(producer.take(2, 3)) + taken_ids(producer.take(2, 7)) == in_stream(5, 15)


def test_the_steps_of_one_task_each_have_that_task_alone() -> None:
    pools = (Pool("a", [*make_prompts(6), *make_prompts(6, Task.MULTIPLE_CHOICE, "c")], 1.0),)
    producer = make_producer(FakeSystem(), 2, pools=pools, batches="by_task")
    tasks = []
    for step in range(1, 9):
        producer.fill(step - 1)
        groups = producer.take(step, 3).groups + producer.take(step, 2).groups
        tasks.append({group.rollout.prompt.task for group in groups})
    assert {len(its) for its in tasks} == {1}
    assert set.union(*tasks) == {Task.TEMPORAL_GROUNDING, Task.MULTIPLE_CHOICE}


def test_the_clips_of_the_next_steps_are_decoded_ahead() -> None:
    system = FakeSystem()
    make_producer(system, prefetch=2).fill(0)
    assert system.clips.prefetched == in_stream(3, 9)


def test_scores_belong_to_their_own_prompt() -> None:
    """The fake rewards tell by the text whose response they score; here their order must survive."""
    order = in_stream(0, 3)
    system = FakeSystem(flat={order[1]})
    producer = make_producer(system)
    producer.fill(0)
    groups = producer.take(1, 3).groups
    own = [own_score(name) for name in order]
    assert len(set(own)) == 3
    assert [[score.total for score in group.scores] for group in groups] == [
        [own[0], own[0] + 1, own[0] + 2, own[0] + 3],
        [own[1]] * 4,
        [own[2], own[2] + 1, own[2] + 2, own[2] + 3],
    ]
    assert [group.spread > 0 for group in groups] == [True, False, True]


def test_an_overlong_response_loses_reward() -> None:
    config = make_config(
        rollout={"group_size": 2, "max_response_tokens": 3},
        grpo={"prompts_per_step": 1, "overlong_buffer": 2},
    )
    producer = Produced(config, FakeSystem(), [Pool("", PROMPTS, 1.0)])
    producer.fill(0)
    (group,) = producer.take(1, 1).groups
    # Two tokens of at most three: half of the way into the buffer.
    assert group.rewards == [score.total - 0.5 for score in group.scores]


def test_scores_belong_to_their_own_prompt_beside_one_that_was_passed_over() -> None:
    order = in_stream(0, 4)
    system = FakeSystem(broken={order[1]})
    producer = make_producer(system)
    producer.fill(0)
    found = {group.rollout.prompt.id: group.scores[0].total for group in producer.take(1, 3).groups}
    assert found == {name: own_score(name) for name in (order[0], order[2], order[3])}


def test_a_row_has_the_advantage_of_its_own_response() -> None:
    system = FakeSystem()
    producer = make_producer(system)
    producer.fill(0)
    groups = producer.take(1, 3).groups
    set_advantages(groups, make_config())
    rows = groups[0].samples()
    deviation = (sum((n - 1.5) ** 2 for n in range(4)) / 3) ** 0.5
    for index, row in enumerate(rows):
        assert row.response_token_ids == [5, 6 + index]
        assert row.rollout_logprobs == [-0.5, -0.1]
        assert row.prompt_token_ids == [1, 2, 3]
        assert row.clip == f"clip of {row.prompt.id}"
        assert row.advantage == pytest.approx((index - 1.5) / deviation, abs=1e-3)


def test_rewards_become_advantages_without_losing_digits() -> None:
    system = FakeSystem()
    producer = make_producer(system)
    producer.fill(0)
    flat, spread = producer.take(1, 2).groups
    flat.rewards, spread.rewards = [98765.4] * 4, [1e6, 1e6, 1e6, 1e6 + 0.01]
    set_advantages([flat, spread], make_config())
    assert flat.advantages == [0.0] * 4
    assert spread.advantages == pytest.approx([-0.5, -0.5, -0.5, 1.5], rel=0.1)
