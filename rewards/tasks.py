"""The tasks, the reward components each of them has, and the score of one response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["strict", "paper"]

# Component order is the order of the scores written out; the total is their plain sum.
COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "temporal_grounding": ("format", "iou"),
    "tracking": ("format", "iou"),
    "multiple_choice": ("format", "accuracy"),
    "grounded_qa": ("format", "accuracy", "evidence_iou"),
}
TASKS = tuple(COMPONENTS)

# The component quoted as "the" result of a task in tables and baselines.
MAIN_COMPONENT: Mapping[str, str] = {
    "temporal_grounding": "iou",
    "tracking": "iou",
    "multiple_choice": "accuracy",
    "grounded_qa": "accuracy",
}


class Unreadable(ValueError):
    """A response, or a part of it, that does not have the form the task asks for; the message says why."""


@dataclass(frozen=True, slots=True)
class Score:
    """The rewards of one response.

    Attributes:
        rewards: Value in [0, 1] of each component of the task, in the order of `COMPONENTS`.
        total: Plain sum of `rewards`.
        parsed: Whether the format component is 1.
        prediction: What was read from the response, under the keys a target has (`interval` in seconds,
            `boxes` normalised, `answer`, `intervals` in seconds), before any clipping; None if nothing finite
            was read.
        reason: Why components are 0, or None if none of them is.
    """

    rewards: dict[str, float]
    total: float
    parsed: bool
    prediction: dict[str, Any] | None
    reason: str | None


def make_score(rewards: dict[str, float], prediction: dict[str, Any], reasons: Sequence[str]) -> Score:
    """Assemble a score from its components, what was read and the reasons for zeros."""
    return Score(
        rewards=rewards,
        total=sum(rewards.values()),
        parsed=rewards["format"] == 1.0,
        prediction=prediction or None,
        reason="; ".join(reasons) or None,
    )


def zero_score(task: str, reason: str) -> Score:
    """The score of a sample that cannot be scored: 0 in every component of its task."""
    return make_score(dict.fromkeys(COMPONENTS[task], 0.0), {}, [reason])
