"""The order of the prompts: shuffled by seed, shared out by weight, drawn again alike by whoever knows the state."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.inputs.prompt_mix import Draw, Pool, PromptMix, PromptStream, Schedule
from data.schema import Task
from tests.cluster.fakes import make_prompts

GROUNDING = make_prompts(12, prefix="g")
CHOICE = make_prompts(6, Task.MULTIPLE_CHOICE, "c")


def ids(stream: PromptStream, start: int, stop: int) -> list[str]:
    return [stream[position].id for position in range(start, stop)]


def test_an_epoch_visits_every_prompt_once_in_an_order_of_its_own() -> None:
    stream = PromptStream(make_prompts(20), seed=3)
    epochs = [ids(stream, start, start + 20) for start in (0, 20, 40)]
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    assert len(set(epochs[0])) == 20
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_position_has_its_prompt_however_it_is_reached() -> None:
    """A resumed run starts in the middle."""
    walked = ids(PromptStream(make_prompts(7), seed=3), 0, 30)
    resumed = PromptStream(make_prompts(7), seed=3)
    assert ids(resumed, 18, 30) == walked[18:]
    assert ids(resumed, 0, 9) == walked[:9]


def test_another_seed_is_another_order() -> None:
    assert ids(PromptStream(make_prompts(20), 0), 0, 20) != ids(PromptStream(make_prompts(20), 1), 0, 20)


def names(draws: list[Draw]) -> list[str]:
    return [draw.prompt.id for draw in draws]


def test_one_pool_is_the_shuffle_of_the_seed() -> None:
    mix = PromptMix([Pool("", GROUNDING, 1.0)], seed=3)
    assert names(mix.draw(1, 30)) == ids(PromptStream(GROUNDING, 3), 0, 30)


def test_draws_are_counted_over_all_pools() -> None:
    mix = PromptMix([Pool("a", GROUNDING, 1.0), Pool("b", CHOICE, 1.0)], 0)
    numbers = [draw.number for step in (1, 2) for draw in mix.draw(step, 5)]
    assert numbers == list(range(10))


def test_with_weights_by_size_every_prompt_comes_once_an_epoch() -> None:
    mix = PromptMix([Pool("a", GROUNDING, 12), Pool("b", CHOICE, 6)], 0)
    epochs = [names(mix.draw(1, 18)) for _ in range(3)]
    assert all(sorted(epoch) == sorted(p.id for p in GROUNDING + CHOICE) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_weights_are_shares_whatever_the_sizes() -> None:
    mix = PromptMix([Pool("a", GROUNDING, 1.0), Pool("b", CHOICE, 2.0)], 0)
    drawn = names(mix.draw(1, 1800))
    assert Counter(name[0] for name in drawn) == {"g": 600, "c": 1200}
    assert set(Counter(name for name in drawn if name[0] == "c").values()) == {200}


@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=6),
    block=st.integers(1, 60),
    seed=st.text(max_size=3),
)
def test_every_block_has_its_shares_to_within_one_turn(weights: list[float], block: int, seed: str) -> None:
    schedule = Schedule(weights, block, seed)
    for start in (0, block, 7 * block):
        turns = Counter(schedule[turn] for turn in range(start, start + block))
        for kind, weight in enumerate(weights):
            assert abs(turns[kind] - block * weight / sum(weights)) < 1 + 1e-6


def test_a_small_share_is_not_lost_in_blocks_that_are_smaller() -> None:
    schedule = Schedule([999.0, 1.0], 10, "0")
    assert 5 <= sum(schedule[turn] for turn in range(10_000)) <= 20


def test_a_step_is_of_one_task_and_tasks_have_their_shares() -> None:
    mixed = Pool("both", [*GROUNDING, *CHOICE], 2.0)
    mix = PromptMix([mixed, Pool("more", CHOICE, 1.0)], 1, by_task=True)
    steps = [{draw.prompt.task for draw in mix.draw(step, 4)} for step in range(1, 129)]
    assert all(its == {mix.task_of(step)} for step, its in enumerate(steps, start=1))
    # Two thirds of the first pool are grounding: 4/3 of 3 in all.
    assert 55 <= sum(its == {Task.TEMPORAL_GROUNDING} for its in steps) <= 59
    assert mix.kind(GROUNDING[0]) is Task.TEMPORAL_GROUNDING
    assert PromptMix([mixed], 1).kind(GROUNDING[0]) is None
    assert PromptMix([mixed], 1).task_of(3) is None


@pytest.mark.parametrize("by_task", [False, True])
def test_from_its_state_a_mix_goes_on_as_it_would_have(by_task: bool) -> None:
    def make() -> PromptMix:
        return PromptMix([Pool("a", GROUNDING + CHOICE, 1.0), Pool("b", CHOICE, 0.3)], 4, by_task)

    whole, before, after = make(), make(), make()
    expected = [whole.draw(step, 5) for step in range(1, 21)]
    found = [before.draw(step, 5) for step in range(1, 11)]
    after.load_state_dict(json.loads(json.dumps(before.state_dict())))
    assert found + [after.draw(step, 5) for step in range(11, 21)] == expected
    assert len({draw.prompt.id for its in expected for draw in its}) == 18


def test_what_is_not_wanted_is_replaced_from_its_own_pool() -> None:
    """The shares stay, and whoever asks is told another place every time."""
    mix = PromptMix([Pool("a", GROUNDING, 1.0), Pool("b", CHOICE, 1.0)], 0)
    asked: list[str] = []

    def wanted(prompt: Any, place: str) -> bool:
        asked.append(place)
        return prompt.id not in {f"g{number}" for number in range(11)}

    drawn = names(mix.draw(1, 180, wanted))
    assert Counter(name[0] for name in drawn) == {"g": 90, "c": 90}
    assert {name for name in drawn if name[0] == "g"} == {"g11"}
    assert len(set(asked)) == len(asked) > 1000


def test_prompts_are_found_by_their_ids() -> None:
    mix = PromptMix([Pool("a", GROUNDING, 1.0), Pool("b", CHOICE, 1.0)], 0, by_task=True)
    assert mix.prompts() == {prompt.id: prompt for prompt in GROUNDING + CHOICE}
