"""Which rows go through the model together, and which learner rank takes them.

Rows of one prompt are packed: the prompt is followed by several responses, each of which sees the prompt and
itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RowSize:
    """What planning needs to know of a row.

    Attributes:
        group: Equal for rows that share a prompt.
        prompt: Prompt tokens.
        response: Response tokens.
    """

    group: Hashable
    prompt: int
    response: int


Pack = list[int]
"""Indexes of rows that share a prompt and go through the model behind one copy of it."""


def plan_micro_batches(sizes: Sequence[RowSize], token_budget: int) -> list[list[Pack]]:
    """Pack rows and put packs of similar length together, at most `token_budget` padded tokens at a time.

    A group that exceeds the budget is split into several packs; a row that exceeds it alone gets its own
    micro-batch.

    Returns:
        Packs of each micro-batch, longest first: what does not fit into memory shows at once.
    """
    packs = [pack for members in _groups(sizes) for pack in _split(sizes, members, token_budget)]
    packs.sort(key=lambda pack: -pack_tokens(sizes, pack))
    batches: list[list[Pack]] = []
    for pack in packs:
        # The first pack of a micro-batch is its longest, so it gives the padded width.
        if batches and (len(batches[-1]) + 1) * pack_tokens(sizes, batches[-1][0]) <= token_budget:
            batches[-1].append(pack)
        else:
            batches.append([pack])
    return batches


def shard_groups(sizes: Sequence[RowSize], num_shards: int) -> list[list[int]]:
    """Distribute rows over learner ranks by token count, groups kept together.

    Greedy, heaviest group first onto the lightest rank. With fewer groups than ranks, rows are distributed
    singly.

    Returns:
        Row indexes of each rank.

    Raises:
        ValueError: fewer rows than ranks.
    """
    if len(sizes) < num_shards:
        raise ValueError(f"{len(sizes)} rows cannot be shared by {num_shards} learner ranks")
    units = _groups(sizes)
    if len(units) < num_shards:
        units = [[row] for row in range(len(sizes))]
    units.sort(key=lambda unit: (-pack_tokens(sizes, unit), unit))
    shards: list[list[int]] = [[] for _ in range(num_shards)]
    loads = [0] * num_shards
    for unit in units:
        lightest = min(range(num_shards), key=lambda shard: (bool(shards[shard]), loads[shard], shard))
        shards[lightest].extend(unit)
        loads[lightest] += pack_tokens(sizes, unit)
    return shards


def pack_tokens(sizes: Sequence[RowSize], pack: Pack) -> int:
    """Tokens of a prompt followed by the pack's responses."""
    return sizes[pack[0]].prompt + sum(sizes[row].response for row in pack)


def _groups(sizes: Sequence[RowSize]) -> list[list[int]]:
    """Row indexes of each group, in order."""
    members: dict[Hashable, list[int]] = {}
    for row, size in enumerate(sizes):
        members.setdefault(size.group, []).append(row)
    return list(members.values())


def _split(sizes: Sequence[RowSize], members: Sequence[int], token_budget: int) -> list[Pack]:
    """Packs of one group, each filled up to the budget."""
    packs: list[Pack] = []
    for row in members:
        if packs and pack_tokens(sizes, [*packs[-1], row]) <= token_budget:
            packs[-1].append(row)
        else:
            packs.append([row])
    return packs
