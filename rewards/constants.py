"""Fits the constant answers of the tasks: what a model that never looks at the clip would best say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from statistics import fmean
from string import ascii_uppercase
from typing import TypeVar

from rewards.intervals import Interval, length_iou, merge

T = TypeVar("T")
C = TypeVar("C")

# The ends of a constant interval are multiples of 1/20 of the clip.
_GRID = [step / 20 for step in range(21)]
# Where every pair of answers would have to be compared, so many of them are candidates.
MAX_CANDIDATES = 16


def best_share_of_clip(
    items: Sequence[tuple[Sequence[Interval], float | None]],
) -> tuple[str, list[Interval]]:
    """The interval in fractions of the clip with the best mean union IoU: in words, and in seconds of each clip."""
    lengths = clip_lengths(items)
    annotated = [
        merge((start / length, end / length) for start, end in spans)
        for (spans, _), length in zip(items, lengths, strict=True)
    ]
    start, end = best_of(combinations(_GRID, 2), annotated, lambda span, spans: length_iou([span], spans))
    return f"{start:.0%} to {end:.0%} of the clip", [(start * length, end * length) for length in lengths]


def clip_lengths(items: Sequence[tuple[Sequence[Interval], float | None]]) -> list[float]:
    """Length of each clip, seconds. An unknown one is taken to be the longest one known or annotated in any item."""
    ends = [end for spans, _ in items for _, end in spans if end > 0]
    longest = max([*ends, *(duration for _, duration in items if duration)], default=1.0)
    return [duration or longest for _, duration in items]


def every_letter(counts: Sequence[int | None]) -> list[str]:
    """The letters of the options of each question; nothing at all if one does not say how many it has."""
    return [] if None in counts else [ascii_uppercase[:count] for count in counts]


def most_frequent(values: Iterable[str]) -> str:
    """The value that occurs most often, the first in order among equals."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def spread(values: Iterable[C]) -> list[C]:
    """At most 16 distinct values, evenly spread over their order; they must compare with each other."""
    ordered = sorted(set(values))  # type: ignore[type-var]
    if len(ordered) <= MAX_CANDIDATES:
        return ordered
    return [ordered[round(i * (len(ordered) - 1) / (MAX_CANDIDATES - 1))] for i in range(MAX_CANDIDATES)]


def best_of(candidates: Iterable[C], truths: Sequence[T], measure: Callable[[C, T], float]) -> C:
    """The candidate with the best mean over all truths, the first among equals."""
    return max(candidates, key=lambda candidate: fmean(measure(candidate, truth) for truth in truths))
