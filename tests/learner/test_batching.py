"""Packing and sharding: nothing lost, nothing doubled, budgets kept, prompts shared."""

from __future__ import annotations

import random

import pytest

from learner.batching import RowSize, pack_tokens, pack_work, plan_micro_batches, shard_groups


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


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7])
def test_shards_hold_every_row_once_and_keep_groups_together(num_shards: int) -> None:
    sizes = random_sizes(1)
    shards = shard_groups(sizes, num_shards)
    assert sorted(row for shard in shards for row in shard) == list(range(len(sizes)))
    owner = {row: number for number, shard in enumerate(shards) for row in shard}
    for group in range(7):
        assert len({owner[row] for row, size in enumerate(sizes) if size.group == group}) == 1
    assert all(shards)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_differ_by_less_than_a_twentieth(seed: int, ranks: int) -> None:
    """Clips of 200 to 8,000 tokens, eight groups per rank."""
    generator = random.Random(seed)
    sizes = []
    for group in range(8 * ranks):
        prompt = round(200 * 40 ** generator.random())
        sizes += [RowSize(group, prompt, generator.randint(20, 300)) for _ in range(8)]
    shards = shard_groups(sizes, ranks)
    assert sorted(row for shard in shards for row in shard) == list(range(len(sizes)))
    loads = [
        sum(pack_work(sizes, [row for row in shard if sizes[row].group == group]) for group in groups)
        for shard in shards
        for groups in [{sizes[row].group for row in shard}]
    ]
    assert max(loads) < 1.05 * min(loads)


def test_attention_counts_as_work() -> None:
    """A long prompt costs more than its tokens: 8 prompts of 1,000 tokens are less work than one of 8,000."""
    sizes = [RowSize("long", 8000, 1), *[RowSize(number, 1000, 1) for number in range(9)]]
    shards = shard_groups(sizes, 2)
    assert sorted(len(shard) for shard in shards) == [1, 9]


def test_fewer_groups_than_ranks_are_split_by_rows() -> None:
    assert all(shard_groups([RowSize("a", 5, 3)] * 8, 4))


def test_fewer_rows_than_ranks_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be shared by 3 learner ranks"):
        shard_groups([RowSize("a", 5, 3)] * 2, 3)
