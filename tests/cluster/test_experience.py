"""The producing side: what is submitted when, what comes out in which order, and which rows the learner gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.experience import Group, GroupProducer, admit
from cluster.prompts import PromptStream
from tests.cluster.fakes import FakeSystem, make_config, make_prompts, own_score

SEED = 5
STREAM = PromptStream(make_prompts(10), SEED)


def make_producer(
    system: FakeSystem, max_staleness: int = 0, steps: int = 100, position: int = 0, prefetch: int = 2
) -> GroupProducer:
    config = make_config(
        run={"seed": SEED},
        rollout={"group_size": 4},
        grpo={"prompts_per_step": 3, "steps": steps, "max_staleness": max_staleness},
        data={"prefetch": prefetch},
    )
    return GroupProducer(config, system, STREAM, position)  # type: ignore[arg-type]


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
        producer.take(3)


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


def test_groups_come_out_in_the_order_of_the_stream() -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=2)
    found = []
    for trained in range(4):
        producer.fill(trained)
        found += taken_ids(producer.take(3))
    assert found == in_stream(0, 12)


def test_staleness_is_counted_in_weight_versions() -> None:
    system = FakeSystem()
    producer = make_producer(system, max_staleness=2)
    producer.fill(0)
    assert [group.staleness for group in producer.take(3).groups] == [0, 0, 0]
    system.sync(1)
    system.sync(2)
    assert [group.staleness for group in producer.take(3).groups] == [2, 2, 2]


def test_prompts_that_cannot_be_used_are_passed_over_and_counted() -> None:
    order = in_stream(0, 10)
    system = FakeSystem(broken={order[1], order[3], order[4]})
    producer = make_producer(system)
    producer.fill(0)
    first = producer.take(3)
    assert taken_ids(first) == [order[0], order[2], order[5]]
    assert (first.skipped, producer.frontier) == (3, 6)
    producer.fill(1)
    second = producer.take(3)
    assert taken_ids(second) == order[6:9]
    assert (second.skipped, producer.frontier) == (0, 9)


@pytest.mark.parametrize("bound", [0, 2])
def test_a_producer_that_starts_at_the_frontier_goes_on_without_a_gap(bound: int) -> None:
    """What was submitted and not taken belongs to the steps after the checkpoint."""
    broken = set(in_stream(2, 4))
    before = make_producer(FakeSystem(broken), max_staleness=bound)
    uninterrupted = make_producer(FakeSystem(broken), max_staleness=bound)
    expected = []
    for trained in range(5):
        uninterrupted.fill(trained)
        expected += taken_ids(uninterrupted.take(3))
    found = []
    for trained in range(2):
        before.fill(trained)
        found += taken_ids(before.take(3))
    after = make_producer(FakeSystem(broken), max_staleness=bound, position=before.frontier)
    for trained in range(2, 5):
        after.fill(trained)
        found += taken_ids(after.take(3))
    assert found == expected


def test_every_position_has_a_seed_of_its_own_that_a_resume_repeats() -> None:
    systems = FakeSystem(), FakeSystem()
    whole, resumed = make_producer(systems[0], max_staleness=3), make_producer(systems[1], position=6)
    whole.fill(0)
    resumed.fill(2)
    seeds, again = (
        {r.prompt.id: r.sampling.seed for batch in system.fleet.batches for r in batch} for system in systems
    )
    assert len(set(seeds.values())) == 10
    assert all(seeds[name] != seed for name, seed in again.items() if name in in_stream(0, 2))
    assert [systems[0].fleet.batches[2][n].sampling for n in range(3)] == [
        request.sampling for request in systems[1].fleet.batches[0]
    ]


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
    groups = producer.take(3).groups
    own = [own_score(name) for name in order]
    assert len(set(own)) == 3
    assert [[score.total for score in group.scores] for group in groups] == [
        [own[0], own[0] + 1, own[0] + 2, own[0] + 3],
        [own[1]] * 4,
        [own[2], own[2] + 1, own[2] + 2, own[2] + 3],
    ]
    assert [group.informative for group in groups] == [True, False, True]


def test_an_overlong_response_loses_reward() -> None:
    config = make_config(
        rollout={"group_size": 2, "max_response_tokens": 3},
        grpo={"prompts_per_step": 1, "overlong_buffer": 2},
    )
    producer = GroupProducer(config, FakeSystem(), STREAM)  # type: ignore[arg-type]
    producer.fill(0)
    (group,) = producer.take(1).groups
    # Two tokens of at most three: half of the way into the buffer.
    assert group.rewards == [score.total - 0.5 for score in group.scores]


def test_scores_belong_to_their_own_prompt_beside_one_that_was_passed_over() -> None:
    order = in_stream(0, 4)
    system = FakeSystem(broken={order[1]})
    producer = make_producer(system)
    producer.fill(0)
    found = {group.rollout.prompt.id: group.scores[0].total for group in producer.take(3).groups}
    assert found == {name: own_score(name) for name in (order[0], order[2], order[3])}


def test_a_row_has_the_advantage_of_its_own_response() -> None:
    system = FakeSystem()
    producer = make_producer(system)
    producer.fill(0)
    group = producer.take(3).groups[0]
    rows = group.samples()
    deviation = (sum((n - 1.5) ** 2 for n in range(4)) / 3) ** 0.5
    for index, row in enumerate(rows):
        assert row.response_token_ids == [5, 6 + index]
        assert row.rollout_logprobs == [-0.5, -0.1]
        assert row.prompt_token_ids == [1, 2, 3]
        assert row.clip == f"clip of {row.prompt.id}"
        assert row.advantage == pytest.approx((index - 1.5) / deviation, abs=1e-3)


def some_group(staleness: int = 0, flat: bool = False) -> Group:
    system = FakeSystem(flat=set(in_stream(0, 3)) if flat else ())
    producer = make_producer(system)
    producer.fill(0)
    return replace(producer.take(1).groups[0], staleness=staleness)


def test_groups_without_a_spread_of_rewards_or_too_old_are_not_admitted() -> None:
    good, flat, old = some_group(), some_group(flat=True), some_group(staleness=2)
    assert admit([good, flat, old], make_config(grpo={"max_staleness": 1})) == [good]
    assert admit([old], make_config(grpo={"max_staleness": 2})) == [old]


def test_a_kl_penalty_gives_a_group_of_equal_rewards_a_gradient() -> None:
    flat = some_group(flat=True)
    assert admit([flat], make_config(grpo={"kl_coef": 0.1})) == [flat]
