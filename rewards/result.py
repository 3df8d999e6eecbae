"""The score of one response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["strict", "paper"]


class Unreadable(ValueError):
    """A response, or a part of it, that does not have the form the task asks for; the message says why."""


@dataclass(frozen=True, slots=True)
class Score:
    """The rewards of one response.

    Attributes:
        rewards: Value in [0, 1] of each component of the task, in the order of `COMPONENTS`, then of those that its
            options add.
        total: Sum of `rewards`, each times its weight, which is 1 unless the configuration says otherwise.
        parsed: Whether the format component is 1.
        prediction: What was read from the response, under the keys a target has (`interval` in seconds,
            `boxes` normalised, `answer`, `intervals` in seconds), before any clipping; None if nothing finite
            was read.
        reason: Why components are 0, or None if none of them is.
        unread: What of that kept the response from being read, or None.
    """

    rewards: dict[str, float]
    total: float
    parsed: bool
    prediction: dict[str, Any] | None
    reason: str | None
    unread: str | None = None


def make_score(
    rewards: dict[str, float],
    prediction: dict[str, Any],
    reasons: Sequence[str],
    weights: Mapping[str, float] | None = None,
    unread: Sequence[str] = (),
) -> Score:
    """Assemble a score from its components, what was read, the reasons for zeros, and weights other than 1.

    Args:
        unread: Those of the reasons that kept the response from being read.
    """
    return Score(
        rewards=rewards,
        total=weighted_sum(rewards, weights) if weights else sum(rewards.values()),
        parsed=rewards["format"] == 1.0,
        prediction=prediction or None,
        reason="; ".join(dict.fromkeys(reasons)) or None,
        unread="; ".join(dict.fromkeys(unread)) or None,
    )


def weighted_sum(rewards: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Sum of components times their weights; one without a weight counts as it is."""
    return sum(weights.get(name, 1.0) * value for name, value in rewards.items())
