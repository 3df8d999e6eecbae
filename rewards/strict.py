"""Strict scoring, the default: harmless spellings are read, and nothing ambiguous is.

Format and content are judged separately: a wrong layout costs the format component alone, and the others are
scored from the one answer block (the one `<glue>` block for evidence) as long as there is exactly one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.parsing import Blocks, find_blocks
from rewards.result import Score, Unreadable, make_score
from rewards.spec import Case, Part


def score(
    parts: Sequence[Part[Any, Any]],
    layout: Sequence[str],
    response: str,
    case: Case[Any, Any],
    weights: Mapping[str, float],
) -> Score:
    """Score one response by the strict definition.

    Args:
        parts: What the task asks for.
        layout: The blocks that a well-formed response consists of, in order.
    """
    blocks = find_blocks(response)
    misplaced = blocks.layout_problem(layout)
    reasons = [misplaced] if misplaced else []
    unread = reasons.copy()
    rewards = {"format": 0.0 if misplaced else 1.0}
    prediction: dict[str, Any] = {}
    for part in parts:
        value, problem = _read(part, blocks, case)
        rewards[part.component] = reward = 0.0 if problem else part.measure(value, case)
        if problem:
            rewards["format"] = 0.0
            unread.append(problem)
        elif part.reported is None or part.reported(value):
            prediction[part.key] = value
        if reward == 0.0:
            reasons.append(problem or part.why_zero(value, case))
    return make_score(rewards, prediction, reasons, weights, unread)


def _read(part: Part[Any, Any], blocks: Blocks, case: Case[Any, Any]) -> tuple[Any, str | None]:
    """What a part reads from its block, or None and why it cannot."""
    try:
        return part.read(blocks.only(part.block), case), None
    except Unreadable as error:
        return None, str(error)
