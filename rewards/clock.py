"""Two clocks: a clip's, which annotations are written by, and the policy's, which starts at the first frame shown.

They differ where a picture starts later than its sound: engines count M-RoPE from the first frame on and cannot be told
that it is at second 4. What the policy answers is compared with the annotation brought to its clock, and what was read
from the answer is brought back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rewards.result import Score
from rewards.targets import is_number


def on_policy_clock(
    target: Mapping[str, Any], duration: float | None, starts_at: float
) -> tuple[Mapping[str, Any], float | None]:
    """Target and duration as the policy sees them, both in seconds.

    Args:
        starts_at: When the first frame is on the clip's clock, seconds.
    """
    if not starts_at:
        return target, duration
    return _moved(target, -starts_at), None if duration is None else duration - starts_at


def on_clip_clock(score: Score, starts_at: float) -> Score:
    """A score with the times that were read from the answer on the clip's clock; the rewards stay.

    Its reasons name times of the policy's clock, and say so.
    """
    if not starts_at or not score.prediction:
        return score
    reason = score.reason and f"{score.reason} (times count from the first frame, at {starts_at:g} s)"
    return replace(score, prediction=_moved(score.prediction, starts_at), reason=reason)


def starts_at_problem(starts_at: object, duration: float | None) -> str | None:
    """Why the picture of a clip of that many seconds cannot start there, or None."""
    if is_number(starts_at) and starts_at >= 0 and (duration is None or starts_at < duration):
        return None
    length = "" if duration is None else f", below the clip's {duration:g} s"
    return f"starts_at must be 0 or more seconds{length}, found {starts_at!r:.40}"


def _moved(fields: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Target or prediction with its intervals moved by so many seconds."""
    moved = dict(fields)
    if fields.get("interval"):
        moved["interval"] = [time + seconds for time in fields["interval"]]
    if fields.get("intervals"):
        moved["intervals"] = [[time + seconds for time in interval] for interval in fields["intervals"]]
    return moved
