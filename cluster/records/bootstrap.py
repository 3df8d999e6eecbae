"""Percentile bootstrap over held-out videos: how sure a figure is, given which videos happened to be held out.

Answers about one video depend on one another, so a video is drawn with all its samples: the cluster bootstrap (Field
and Welsh 2007, Bootstrapping clustered data). Where every sample has a video of its own, that is the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict

RESAMPLES = 10_000
CHUNK = 500


def _round(value: float) -> float:
    return round(value, 4)


Rounded = Annotated[float, BeforeValidator(_round)]


class Interval(BaseModel):
    """A mean, or another figure, with the ends of its 95% interval."""

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


class Fractions(NamedTuple):
    """A figure over N samples: the mean over groups of the sum of numerators by the sum of weights.

    Attributes:
        numerators, weights: float64 `[N]`.
        groups: int `[N]`, 0 to G - 1.
    """

    numerators: np.ndarray
    weights: np.ndarray
    groups: np.ndarray


def bootstrap_mean(
    values: Sequence[float],
    seed: int = 0,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    videos: Sequence[str] | None = None,
) -> Interval:
    """The mean of `values` with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        values: One figure per clip, in any unit; the interval has the same unit.
        seed: The same seed and values give the same interval.
        videos: As for `bootstrap_figures`.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no values to take the mean of")
    data = np.asarray(values, dtype=np.float64)
    fractions = Fractions(data, np.ones(len(data)), np.zeros(len(data), dtype=np.int64))
    ((value, *drawn),) = bootstrap_figures([fractions], seed, resamples, videos)
    return interval(value, drawn, level)


def bootstrap_figures(
    figures: Sequence[Fractions],
    seed: int = 0,
    resamples: int = RESAMPLES,
    videos: Sequence[str] | None = None,
) -> np.ndarray:
    """Figures over the same samples, as they are and on resampled samples, the same ones for all figures.

    Differences of rows are therefore paired ones.

    Args:
        videos: What each sample is about; None where each has a video of its own. Of a single video its samples are
            drawn, which tells nothing of others.

    Returns:
        float64 `[figures, 1 + resamples]`, the figure of the samples themselves first.

    Raises:
        ValueError: there are no samples.
    """
    samples = len(figures[0].numerators)
    if not samples:
        raise ValueError("no samples to resample")
    tables = [table for figure in figures for table in (_by_group(figure, True), _by_group(figure, False))]
    ends = np.cumsum([table.shape[1] for table in tables])
    columns = _by_video(np.hstack(tables), videos)
    drawn = _drawn_counts(len(columns), seed, resamples)
    once = np.ones((1, len(columns)))
    sums = [np.split(counts @ columns, ends[:-1], axis=1) for counts in chain([once], drawn)]
    parts = [list(map(_mean_over_groups, part[::2], part[1::2])) for part in sums]
    return np.concatenate(parts, axis=1)


def interval(value: float, drawn: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """A figure with the percentile interval of its resampled values."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean=float(value), low=float(low), high=float(high))


def _by_video(columns: np.ndarray, videos: Sequence[str] | None) -> np.ndarray:
    """From a row per sample to a row per video, in the order in which they come first, the sum of its samples' rows."""
    places: dict[str, int] = {}
    rows = [places.setdefault(video, len(places)) for video in videos or ()]
    if len(places) < 2:
        return columns
    summed = np.zeros((len(places), columns.shape[1]))
    np.add.at(summed, rows, columns)
    return summed


def _drawn_counts(samples: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each of N was drawn, float64 `[at most CHUNK, N]`."""
    rng = np.random.default_rng(seed)
    for done in range(0, resamples, CHUNK):
        rows = min(CHUNK, resamples - done)
        drawn = rng.integers(0, samples, (rows, samples))
        cells = drawn + samples * np.arange(rows)[:, None]
        yield np.bincount(cells.ravel(), minlength=rows * samples).reshape(rows, samples).astype(np.float64)


def _by_group(figure: Fractions, numerators: bool) -> np.ndarray:
    """Numerators or weights, each in the column of its group: `[N, G]`."""
    count = len(figure.groups)
    table = np.zeros((count, int(figure.groups.max()) + 1))
    table[np.arange(count), figure.groups] = figure.numerators if numerators else figure.weights
    return table


def _mean_over_groups(numerators: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """From sums `[R, G]` to figures `[R]`; a group that weighs nothing is left out, as in `rewards.metrics`."""
    weighs = weights > 0
    means = np.divide(numerators, weights, out=np.zeros_like(numerators), where=weighs)
    return means.sum(axis=1) / np.maximum(weighs.sum(axis=1), 1)
