"""Which rows go through the model together, and which learner rank takes them.

Rows of one prompt are packed: the prompt is followed by several responses, each of which sees the prompt and
itself. Packs are not padded, so a micro-batch costs the sum of its packs.
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


# Cost of one query-key pair in tokens: 4 * layers * width attention FLOPs against 2 * parameters per token, both for
# the language model. Qwen2.5-VL-7B: 4 * 28 * 3584 / (2 * 7.6e9); the 3B has 4.8e-5, the 72B 1.8e-5.
PAIR_COST = 2.6e-5
# Ranks that differ by less are left as they are.
BALANCED = 1.005


def plan_micro_batches(sizes: Sequence[RowSize], token_budget: int) -> list[list[Pack]]:
    """Pack rows and fill micro-batches of at most `token_budget` tokens: first fit, longest pack first.

    A group that exceeds the budget is split into several packs; a row that exceeds it alone gets its own
    micro-batch.

    Returns:
        Packs of each micro-batch, fullest first: what does not fit into memory shows at once.
    """
    packs = [pack for members in _groups(sizes) for pack in _split(sizes, members, token_budget)]
    packs.sort(key=lambda pack: -pack_tokens(sizes, pack))
    batches: list[list[Pack]] = []
    filled: list[int] = []
    for pack in packs:
        tokens = pack_tokens(sizes, pack)
        room = next((place for place, total in enumerate(filled) if total + tokens <= token_budget), None)
        if room is None:
            batches.append([pack])
            filled.append(tokens)
        else:
            batches[room].append(pack)
            filled[room] += tokens
    order = sorted(range(len(batches)), key=lambda place: -filled[place])
    return [batches[place] for place in order]


def shard_groups(sizes: Sequence[RowSize], num_shards: int) -> list[list[int]]:
    """Distribute rows over learner ranks by work, groups kept together.

    Greedy, heaviest group first onto the lightest rank; then groups of the heaviest and the lightest rank change
    places for as long as that helps. With fewer groups than ranks, rows are distributed singly.

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
    costs = [pack_work(sizes, unit) for unit in units]
    shards: list[list[int]] = [[] for _ in range(num_shards)]
    loads = [0.0] * num_shards
    for unit in sorted(range(len(units)), key=lambda unit: (-costs[unit], unit)):
        lightest = min(range(num_shards), key=lambda shard: (bool(shards[shard]), loads[shard], shard))
        shards[lightest].append(unit)
        loads[lightest] += costs[unit]
    while max(loads) > BALANCED * min(loads) and _swap(shards, loads, costs):
        pass
    return [[row for unit in shard for row in units[unit]] for shard in shards]


def _swap(shards: list[list[int]], loads: list[float], costs: Sequence[float]) -> bool:
    """Exchange one unit of the heaviest shard for one of the lightest, so that they come closest to each other.

    Returns:
        False where no exchange brings them closer.
    """
    heavy, light = loads.index(max(loads)), loads.index(min(loads))
    gap = loads[heavy] - loads[light]
    moved, mine, its = min(
        (abs(gap - 2 * (costs[mine] - costs[its])), mine, its)
        for mine in shards[heavy]
        for its in shards[light]
    )
    if moved >= gap * (1 - 1e-9):
        return False
    shards[heavy][shards[heavy].index(mine)], shards[light][shards[light].index(its)] = its, mine
    loads[heavy] += costs[its] - costs[mine]
    loads[light] += costs[mine] - costs[its]
    return True


def pack_work(sizes: Sequence[RowSize], pack: Pack) -> float:
    """Cost of a pack in tokens: its own, and the pairs that its attention computes."""
    prompt = sizes[pack[0]].prompt
    responses = [sizes[row].response for row in pack]
    pairs = prompt**2 / 2 + sum(response * (prompt + response / 2) for response in responses)
    return pack_tokens(sizes, pack) + PAIR_COST * pairs


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
