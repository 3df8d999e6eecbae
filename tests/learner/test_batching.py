"""Packing: nothing lost, nothing doubled, budgets kept, prompts shared; and what counts as work."""

from __future__ import annotations

import random

import pytest

from learner.batching import TOWER_COST, RowSize, pack_tokens, pack_work, plan_micro_batches


def random_sizes(seed: int, num_groups: int = 7, group_size: int = 4) -> list[RowSize]:
    generator = random.Random(seed)
    sizes = []
    for group in range(num_groups):
        prompt = generator.randint(20, 90)
        sizes += [RowSize(group, prompt, generator.randint(1, 40)) for _ in range(group_size)]
    generator.shuffle(sizes)
    return sizes


@pytest.mark.parametrize("budget", [1, 100, 250, 1000, 100_000])
@pytest.mark.parametrize("seed", range(5))
def test_plan_holds_every_row_once_within_the_budget(seed: int, budget: int) -> None:
    sizes = random_sizes(seed)
    plan = plan_micro_batches(sizes, budget)
    rows = [row for batch in plan for pack in batch for row in pack]
    assert sorted(rows) == list(range(len(sizes)))
    for batch in plan:
        for pack in batch:
            assert len({sizes[row].group for row in pack}) == 1
        tokens = sum(pack_tokens(sizes, pack) for pack in batch)
        assert tokens <= budget or sum(len(pack) for pack in batch) == 1


def test_groups_are_packed_whole_where_the_budget_allows() -> None:
    sizes = random_sizes(0)
    packs = [pack for batch in plan_micro_batches(sizes, 260) for pack in batch]
    assert sorted(len(pack) for pack in packs) == [4] * 7


def test_micro_batches_are_filled_and_the_fullest_comes_first() -> None:
    sizes = [RowSize(0, 59, 1), RowSize(1, 29, 1), RowSize(2, 39, 1), RowSize(3, 66, 1)]
    assert plan_micro_batches(sizes, 100) == [[[0], [2]], [[3], [1]]]


def test_attention_and_the_vision_tower_count_as_work() -> None:
    """Eight prompts of 1,000 tokens are less than one of 8,000, and a clip is more than text."""
    short, long = (pack_work([RowSize(0, tokens, 1)], [0]) for tokens in (1000, 8000))
    assert 8 * short < long
    frozen, trained = (pack_work([RowSize(0, 1000, 1, video)], [0]) for video in (0, 900))
    assert trained - frozen == pytest.approx(900 * TOWER_COST)
