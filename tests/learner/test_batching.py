"""Packing and sharding: nothing lost, nothing doubled, budgets kept, prompts shared."""

from __future__ import annotations

import random

import pytest

from learner.batching import RowSize, pack_tokens, plan_micro_batches, shard_groups


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
        padded = len(batch) * max(pack_tokens(sizes, pack) for pack in batch)
        assert padded <= budget or sum(len(pack) for pack in batch) == 1


def test_groups_are_packed_whole_where_the_budget_allows() -> None:
    sizes = random_sizes(0)
    packs = [pack for batch in plan_micro_batches(sizes, 260) for pack in batch]
    assert sorted(len(pack) for pack in packs) == [4] * 7


def test_packs_of_similar_length_go_together() -> None:
    sizes = [RowSize(0, 10, 1), RowSize(1, 100, 1), RowSize(2, 10, 1), RowSize(3, 100, 1)]
    assert plan_micro_batches(sizes, 202) == [[[1], [3]], [[0], [2]]]


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_shards_hold_every_row_once_and_keep_groups_together(num_shards: int) -> None:
    sizes = random_sizes(1)
    shards = shard_groups(sizes, num_shards)
    assert sorted(row for shard in shards for row in shard) == list(range(len(sizes)))
    owner = {row: number for number, shard in enumerate(shards) for row in shard}
    for group in range(7):
        assert len({owner[row] for row, size in enumerate(sizes) if size.group == group}) == 1
    assert all(shards)


def test_shards_are_balanced_by_tokens() -> None:
    sizes = random_sizes(2, num_groups=40)
    loads = []
    for shard in shard_groups(sizes, 4):
        prompts = {sizes[row].group: sizes[row].prompt for row in shard}
        loads.append(sum(prompts.values()) + sum(sizes[row].response for row in shard))
    assert max(loads) < 1.1 * min(loads)


def test_fewer_groups_than_ranks_are_split_by_rows() -> None:
    assert all(shard_groups([RowSize("a", 5, 3)] * 8, 4))


def test_fewer_rows_than_ranks_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be shared by 3 learner ranks"):
        shard_groups([RowSize("a", 5, 3)] * 2, 3)
