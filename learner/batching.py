"""Which rows go through the model together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def plan_micro_batches(lengths: Sequence[int], groups: Sequence[Hashable], token_budget: int) -> list[list[int]]:
    """Split rows into micro-batches of at most `token_budget` padded tokens, rows of similar length together.

    Rows of one group stay together where the budget allows it, so that their prompt's video is encoded once. A row
    longer than the budget gets a micro-batch of its own.

    Args:
        lengths: Tokens of each row, prompt and response.
        groups: Key of the group each row belongs to.

    Returns:
        Row indexes of each micro-batch, longest rows first: what does not fit into memory shows at once.
    """
    batches: list[list[int]] = []
    for group in _longest_first(lengths, groups):
        if batches and _padded(lengths, batches[-1] + group) <= token_budget:
            batches[-1].extend(group)
            continue
        for row in group:
            if batches and row != group[0] and _padded(lengths, [*batches[-1], row]) <= token_budget:
                batches[-1].append(row)
            else:
                batches.append([row])
    return batches


def shard_groups(lengths: Sequence[int], groups: Sequence[Hashable], num_shards: int) -> list[list[int]]:
    """Distribute rows over learner ranks by token count, groups kept together.

    Greedy, heaviest group first onto the lightest rank. With fewer groups than ranks, rows are distributed singly.

    Raises:
        ValueError: fewer rows than ranks.
    """
    if len(lengths) < num_shards:
        raise ValueError(f"{len(lengths)} rows cannot be shared by {num_shards} learner ranks")
    units = _longest_first(lengths, groups)
    if len(units) < num_shards:
        units = [[row] for row in range(len(lengths))]
    units.sort(key=lambda unit: (-sum(lengths[row] for row in unit), unit))
    shards: list[list[int]] = [[] for _ in range(num_shards)]
    loads = [0] * num_shards
    for unit in units:
        lightest = min(range(num_shards), key=lambda shard: (bool(shards[shard]), loads[shard], shard))
        shards[lightest].extend(unit)
        loads[lightest] += sum(lengths[row] for row in unit)
    return shards


def _longest_first(lengths: Sequence[int], groups: Sequence[Hashable]) -> list[list[int]]:
    """Rows of each group, longest first; groups by their longest row. Ties keep their order."""
    members: dict[Hashable, list[int]] = {}
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        members.setdefault(groups[row], []).append(row)
    return list(members.values())


def _padded(lengths: Sequence[int], rows: Sequence[int]) -> int:
    return len(rows) * max(lengths[row] for row in rows)
