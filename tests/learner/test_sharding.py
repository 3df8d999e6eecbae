"""Sharing rows among ranks: nothing lost, work as equal as it can be, prompts copied only where that pays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import pytest

from learner.batching import RowSize
from learner.group import deal_videos
from learner.sharding import imbalance, shard_groups, shard_work
from tests.learner.tiny import make_samples


def clips(seed: int, groups: int, prompts: tuple[int, int], responses: tuple[int, int]) -> list[RowSize]:
    """Groups of eight whose lengths lie evenly between two bounds; nine tenths of a prompt are its clip."""
    generator = random.Random(seed)
    sizes = []
    for group in range(groups):
        prompt = generator.randint(*prompts)
        sizes += [RowSize(group, prompt, generator.randint(*responses), prompt * 9 // 10) for _ in range(8)]
    generator.shuffle(sizes)
    return sizes


def loads_of(sizes: Sequence[RowSize], shards: Sequence[Sequence[int]]) -> list[float]:
    assert sorted(row for shard in shards for row in shard) == list(range(len(sizes)))
    assert all(shards)
    return [shard_work(sizes, shard) for shard in shards]


def copies(sizes: Sequence[RowSize], shards: Sequence[Sequence[int]]) -> int:
    """Prompts computed, over all ranks."""
    return sum(len({sizes[row].group for row in shard}) for shard in shards)


def work_of_groups(sizes: Sequence[RowSize]) -> list[float]:
    groups = {size.group for size in sizes}
    return [
        shard_work(sizes, [row for row, size in enumerate(sizes) if size.group == each]) for each in groups
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("ranks", "groups"), [(2, 8), (4, 16), (8, 64)])
def test_ranks_differ_by_less_than_a_twentieth(seed: int, ranks: int, groups: int) -> None:
    """From four groups per rank on, with prompts of half to all of the shipped length."""
    sizes = clips(seed, groups, (1800, 3600), (100, 1024))
    shards = shard_groups(sizes, ranks)
    assert imbalance(loads_of(sizes, shards)) < 1.05
    assert copies(sizes, shards) == groups


@pytest.mark.parametrize("seed", range(5))
def test_two_groups_per_rank_are_paired_as_well_as_can_be(seed: int) -> None:
    """The shipped eight prompts on four ranks: no sharing of whole groups has a lighter heaviest rank."""
    sizes = clips(seed, 8, (2500, 3600), (100, 1024))
    shards = shard_groups(sizes, 4)
    assert max(loads_of(sizes, shards)) == pytest.approx(_lightest_pairing(work_of_groups(sizes)))
    assert copies(sizes, shards) == 8


def _lightest_pairing(costs: list[float]) -> float:
    """The heaviest pair's work in the pairing where it is lightest."""
    if not costs:
        return 0.0
    first, *rest = costs
    return min(
        max(first + mate, _lightest_pairing([*rest[:place], *rest[place + 1 :]]))
        for place, mate in enumerate(rest)
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("groups", "ranks"), [(8, 8), (7, 8), (3, 4), (1, 4), (2, 8)])
def test_few_groups_are_cut_no_finer_than_there_are_ranks(seed: int, groups: int, ranks: int) -> None:
    """A second prompt on a rank that has one is more than it could take off another."""
    sizes = clips(seed, groups, (2500, 3600), (100, 1024))
    shards = shard_groups(sizes, ranks)
    assert copies(sizes, shards) == ranks
    assert all(len({sizes[row].group for row in shard}) == 1 for shard in shards)
    assert max(loads_of(sizes, shards)) <= max(work_of_groups(sizes))


def test_long_responses_are_worth_a_second_prompt() -> None:
    """Five equal groups on four ranks: whole, one rank would have twice the others' work."""
    sizes = [RowSize(group, 500, 1000) for group in range(5) for _ in range(8)]
    shards = shard_groups(sizes, 4)
    assert copies(sizes, shards) > 5
    assert max(loads_of(sizes, shards)) < 1.5 * min(work_of_groups(sizes))


def test_no_cut_of_one_more_group_would_help() -> None:
    """Where ranks still differ, taking any rows off the heaviest onto any other makes that one heavier."""
    sizes = clips(3, 8, (2500, 3600), (100, 1024))
    shards = shard_groups(sizes, 8)
    loads = loads_of(sizes, shards)
    heavy = loads.index(max(loads))
    for count in range(1, 8):
        for taken in combinations(shards[heavy], count):
            for other in range(8):
                if other != heavy:
                    assert shard_work(sizes, [*shards[other], *taken]) >= max(loads)


def test_attention_counts() -> None:
    """Nine prompts of 1,000 tokens on one rank, one of 8,000 on the other."""
    sizes = [RowSize("long", 8000, 1), *[RowSize(number, 1000, 1) for number in range(9)]]
    assert sorted(len(shard) for shard in shard_groups(sizes, 2)) == [1, 9]


def test_a_tower_that_trains_counts() -> None:
    sizes = [RowSize("clip", 2000, 1, 2000), *[RowSize(number, 100, 1) for number in range(26)]]
    assert sorted(len(shard) for shard in shard_groups(sizes, 2)) == [1, 26]


def test_fewer_rows_than_ranks_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 rows cannot be shared by 3 learner ranks"):
        shard_groups([RowSize("a", 5, 3)] * 2, 3)


def test_clips_of_one_video_go_to_one_rank() -> None:
    prompt = make_samples(1, 1)[0].prompt
    prompts = [replace(prompt, id=str(number), video=f"{number // 3}.mp4") for number in range(10)]
    shares = deal_videos(prompts, 3)
    assert shares == [[0, 1, 2, 9], [3, 4, 5], [6, 7, 8]]
    assert deal_videos([], 2) == [[], []]
