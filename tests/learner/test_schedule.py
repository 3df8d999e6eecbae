"""The learning rate at its corners."""

from __future__ import annotations

from typing import Any

import pytest

from learner.schedule import learning_rate_at
from learner.settings import LearnerSettings


def test_warmup_reaches_the_peak_and_constant_stays_there() -> None:
    settings = LearnerSettings(learning_rate=1.0, warmup_steps=4)
    assert [learning_rate_at(settings, step) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 0.5), ("cosine", 0.5)])
def test_decay_ends_at_zero(schedule: str, middle: float) -> None:
    shape: Any = schedule
    settings = LearnerSettings(learning_rate=1.0, warmup_steps=2, total_steps=12, schedule=shape)
    assert learning_rate_at(settings, 2) == 1.0
    assert learning_rate_at(settings, 7) == pytest.approx(middle)
    assert learning_rate_at(settings, 12) == pytest.approx(0.0)
    assert learning_rate_at(settings, 99) == pytest.approx(0.0)
