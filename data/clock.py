"""A prompt on the policy's clock, which starts at the first frame shown; see `rewards.clock`."""

from __future__ import annotations

from dataclasses import replace

from data.schema import VideoPrompt
from rewards import clock


def on_policy_clock(prompt: VideoPrompt, starts_at: float) -> VideoPrompt:
    """The prompt with target and duration as the policy sees them.

    Args:
        starts_at: When the first frame is on the clip's clock, seconds.
    """
    if not starts_at:
        return prompt
    target, duration = clock.on_policy_clock(prompt.target, prompt.duration, starts_at)
    return replace(prompt, target=target, duration=duration)
