"""Two clocks: a clip's, which annotations are written by, and the policy's, which starts at the first frame shown.

They differ where a picture starts later than its sound: engines count M-RoPE from the first frame on and cannot be told
that it is at second 4. What the policy answers is compared with the annotation brought to its clock, and what was read
from the answer is brought back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data.schema import VideoPrompt
from rewards import Score


def on_policy_clock(prompt: VideoPrompt, starts_at: float) -> VideoPrompt:
    """The prompt with target and duration as the policy sees them.

    Args:
        starts_at: When the first frame is on the clip's clock, seconds.
    """
    if not starts_at:
        return prompt
    duration = None if prompt.duration is None else prompt.duration - starts_at
    return replace(prompt, target=_moved(prompt.target, -starts_at), duration=duration)


def on_clip_clock(score: Score, starts_at: float) -> Score:
    """A score with the times that were read from the answer on the clip's clock; the rewards stay.

    Its reasons name times of the policy's clock, and say so.
    """
    if not starts_at or not score.prediction:
        return score
    reason = score.reason and f"{score.reason} (times count from the first frame, at {starts_at:g} s)"
    return replace(score, prediction=_moved(score.prediction, starts_at), reason=reason)


def _moved(fields: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Target or prediction with its intervals moved by so many seconds."""
    moved = dict(fields)
    if fields.get("interval"):
        moved["interval"] = [time + seconds for time in fields["interval"]]
    if fields.get("intervals"):
        moved["intervals"] = [[time + seconds for time in interval] for interval in fields["intervals"]]
    return moved
