"""The learning rate as a function of the optimizer step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from learner.settings import LearnerSettings


def learning_rate_at(settings: LearnerSettings, step: int) -> float:
    """Learning rate of optimizer step `step` (0 is the first)."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.learning_rate
    span = max(1, settings.total_steps - settings.warmup_steps)
    done = min(1.0, (step - settings.warmup_steps) / span)
    remaining = 1.0 - done if settings.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return settings.learning_rate * remaining
