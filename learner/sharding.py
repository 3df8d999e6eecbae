"""Which learner rank takes which rows: equal work, and as few copies of a prompt as that allows.

A step lasts as long as its heaviest rank. Whole groups are distributed first; where ranks still differ, a group of the
heaviest one is cut in parts, each behind a prompt of its own, as long as that makes the heaviest rank lighter. It often
does not: with one or two groups per rank a second prompt costs more than it evens out.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from learner.batching import Pack, RowSize, groups_of, pack_work

# Ranks that differ by less are left as they are.
BALANCED = 1.005
# Ranks that differ by less are not worth another copy of a prompt.
WORTH_A_CUT = 1.05


class _Unit(NamedTuple):
    """Rows of a group that stay together, and their work behind a prompt of their own."""

    work: float
    rows: Pack
    group: Hashable


Shard = list[_Unit]


def shard_groups(sizes: Sequence[RowSize], num_shards: int) -> list[list[int]]:
    """Distribute rows over learner ranks by work.

    Returns:
        Row indexes of each rank, at least one.

    Raises:
        ValueError: fewer rows than ranks.
    """
    if len(sizes) < num_shards:
        raise ValueError(f"{len(sizes)} rows cannot be shared by {num_shards} learner ranks")
    parts = _one_part_per_shard(sizes, num_shards)
    shards = _distribute(_cut(sizes, parts), num_shards)
    while imbalance([_load(shard) for shard in shards]) > WORTH_A_CUT:
        finer = [
            parts | {unit.group: parts[unit.group] + 1}
            for unit in max(shards, key=_load)
            if len(unit.rows) > 1
        ]
        found = [(_distribute(_cut(sizes, more), num_shards), more) for more in finer]
        best = min(found, key=lambda each: max(map(_load, each[0])), default=(shards, parts))
        if max(map(_load, best[0])) >= max(map(_load, shards)):
            break
        shards, parts = best
    return [[row for unit in shard for row in unit.rows] for shard in shards]


def shard_work(sizes: Sequence[RowSize], rows: Sequence[int]) -> float:
    """Work of a rank with these rows, each of its prompts once; in tokens, see `pack_work`."""
    return sum(pack_work(sizes, pack) for pack in groups_of(sizes, rows).values())


def imbalance(loads: Sequence[float]) -> float:
    """The heaviest rank's work over the lightest's."""
    return max(loads) / min(loads)


def _one_part_per_shard(sizes: Sequence[RowSize], num_shards: int) -> dict[Hashable, int]:
    """In how many parts each group is cut: with fewer groups than ranks, the one with the heaviest parts again."""
    groups = groups_of(sizes)
    parts = dict.fromkeys(groups, 1)
    while sum(parts.values()) < num_shards:
        heaviest = max(unit for unit in _cut(sizes, parts) if parts[unit.group] < len(groups[unit.group]))
        parts[heaviest.group] += 1
    return parts


def _cut(sizes: Sequence[RowSize], parts: Mapping[Hashable, int]) -> list[_Unit]:
    """Every group in as many parts of about equal work: longest response first, into the shortest part."""
    units = []
    for group, members in groups_of(sizes).items():
        cuts: list[Pack] = [[] for _ in range(parts[group])]
        for row in sorted(members, key=lambda row: -sizes[row].response):
            min(cuts, key=lambda cut: sum(sizes[each].response for each in cut)).append(row)
        units += [_Unit(pack_work(sizes, sorted(cut)), sorted(cut), group) for cut in cuts]
    return units


def _distribute(units: Sequence[_Unit], num_shards: int) -> list[Shard]:
    """Heaviest unit first onto the lightest shard, at least one each; then exchanges for as long as they help."""
    shards: list[Shard] = [[] for _ in range(num_shards)]
    for unit in sorted(units, key=lambda unit: (-unit.work, unit.rows)):
        min(shards, key=lambda shard: (bool(shard), _load(shard))).append(unit)
    while imbalance([_load(shard) for shard in shards]) > BALANCED and _exchange(shards):
        pass
    return shards


def _exchange(shards: list[Shard]) -> bool:
    """Let the heaviest shard and another exchange a unit each, so that the heavier of the two is as light as can be.

    Returns:
        False where no exchange makes the heaviest shard lighter.
    """
    heavy = max(shards, key=_load)
    load = _load(heavy)
    found = [
        (max(load - mine.work + its.work, _load(other) + mine.work - its.work), mine, its, other)
        for other in shards
        for mine in heavy
        for its in other
        if its.work < mine.work
    ]
    if not found:
        return False
    heavier, mine, its, other = min(found, key=lambda each: each[0])
    if heavier >= load * (1 - 1e-9):
        return False
    heavy[heavy.index(mine)], other[other.index(its)] = its, mine
    return True


def _load(shard: Shard) -> float:
    return sum(unit.work for unit in shard)
