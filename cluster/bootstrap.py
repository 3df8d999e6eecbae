"""Percentile bootstrap over held-out clips: how sure a mean is, given which clips happened to be held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

RESAMPLES = 10_000
CHUNK = 500


def _round(value: float) -> float:
    return round(value, 4)


Rounded = Annotated[float, BeforeValidator(_round)]


class Interval(BaseModel):
    """A mean with the ends of its 95% interval."""

    model_config = ConfigDict(frozen=True)

    mean: Rounded
    low: Rounded
    high: Rounded

    @property
    def half_width(self) -> float:
        """What is printed after the ±."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.half_width:.1f}"


def bootstrap_mean(
    values: Sequence[float], seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """The mean of `values` with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        values: One figure per clip, in any unit; the interval has the same unit.
        seed: The same seed and values give the same interval.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values to take the mean of")
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    sizes = [min(CHUNK, resamples - done) for done in range(0, resamples, CHUNK)]
    means = np.concatenate([data[rng.integers(0, len(data), (n, len(data)))].mean(axis=1) for n in sizes])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(data.mean()), low=float(low), high=float(high))
