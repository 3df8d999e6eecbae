"""Which of a rank's rows go through the model together, and what that costs.

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
        video: Those of the prompt that a training vision tower computes; 0 where it is frozen.
    """

    group: Hashable
    prompt: int
    response: int
    video: int = 0


Pack = list[int]
"""Indexes of rows that share a prompt and go through the model behind one copy of it."""


# Cost of one query-key pair in tokens: 4 * layers * width attention FLOPs against 2 * parameters per token, both for
# the language model. Qwen2.5-VL-7B: 4 * 28 * 3584 / (2 * 7.6e9); the 3B has 4.8e-5, the 72B 1.8e-5.
PAIR_COST = 2.6e-5
# Cost of one video token in the vision tower, in tokens of the language model: four patches through 0.64e9 parameters
# and one through the merger's 0.045e9, against 7.6e9. 0.8 with the 3B, whose tower is the same.
TOWER_COST = 0.34


def plan_micro_batches(sizes: Sequence[RowSize], token_budget: int) -> list[list[Pack]]:
    """Pack rows and fill micro-batches of at most `token_budget` tokens: first fit, longest pack first.

    A group that exceeds the budget is split into several packs; a row that exceeds it alone gets its own
    micro-batch.

    Returns:
        Packs of each micro-batch, fullest first: what does not fit into memory shows at once.
    """
    packs = [pack for members in groups_of(sizes).values() for pack in _split(sizes, members, token_budget)]
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


def pack_work(sizes: Sequence[RowSize], pack: Pack) -> float:
    """Cost of a pack in tokens: its own, the pairs that its attention computes, and the vision tower's work."""
    prompt, video = sizes[pack[0]].prompt, sizes[pack[0]].video
    responses = [sizes[row].response for row in pack]
    pairs = prompt**2 / 2 + sum(response * (prompt + response / 2) for response in responses)
    return pack_tokens(sizes, pack) + PAIR_COST * pairs + TOWER_COST * video


def pack_tokens(sizes: Sequence[RowSize], pack: Pack) -> int:
    """Tokens of a prompt followed by the pack's responses."""
    return sizes[pack[0]].prompt + sum(sizes[row].response for row in pack)


def groups_of(sizes: Sequence[RowSize], rows: Sequence[int] | None = None) -> dict[Hashable, list[int]]:
    """Row indexes of each group, in order; of these rows where they are given."""
    members: dict[Hashable, list[int]] = {}
    for row in range(len(sizes)) if rows is None else rows:
        members.setdefault(sizes[row].group, []).append(row)
    return members


def _split(sizes: Sequence[RowSize], members: Sequence[int], token_budget: int) -> list[Pack]:
    """Packs of one group, each filled up to the budget."""
    packs: list[Pack] = []
    for row in members:
        if packs and pack_tokens(sizes, [*packs[-1], row]) <= token_budget:
            packs[-1].append(row)
        else:
            packs.append([row])
    return packs
