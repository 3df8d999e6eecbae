"""Intervals of time, in seconds: how they are read from an answer, written, and compared."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from rewards.result import Unreadable
from rewards.times import TIME, UNIT, to_seconds

Interval = tuple[float, float]

_SEPARATORS = {"to", "and", "-", "–"}

# A time stands on its own: not inside a word (but `from5to7` is read), nor a part of `1.2.3`, `1:2`, `12,5`,
# `1/2` or of a number with other than ASCII digits. A minus straight after a number or a word is a dash,
# anywhere else a sign.
_ALONE_BEFORE = r"(?<![\d.\u2212])(?<!\d[:,/])(?:(?<![a-z_])|(?<=from)|(?<=to)|(?<=and))"
_ALONE_AFTER = r"(?:(?![a-z_])|(?=to|and))"
_LONE_TIME = re.compile(
    rf"{_ALONE_BEFORE}({TIME})(?![.:,/]?\d)(?:{UNIT}{_ALONE_AFTER})?{_ALONE_AFTER}", re.IGNORECASE
)

_UNIT_TIME = rf"{TIME}(?:{UNIT})?"
_INSIDE = rf"\s*+{_UNIT_TIME}\s*+,\s*+{_UNIT_TIME}\s*+"
_PAIR = rf"(?:\({_INSIDE}\)|\[{_INSIDE}\])"
_PAIRS = rf"\s*+(?:{_PAIR}(?:\s*+,\s*+{_PAIR})*\s*+(?:,\s*+)?)?"
_BRACKETED = re.compile(_PAIR, re.IGNORECASE)
_PAIR_LIST = re.compile(rf"\[{_PAIRS}\]|\({_PAIRS}\)", re.IGNORECASE)
_TIME = re.compile(TIME)


def read_interval(answer: str) -> Interval:
    """Read the one interval of an answer block: `12.5s to 17 s`, `[12.5, 17]`, `0:12 - 0:17`.

    Words around it are passed over.

    Returns:
        Start and end in seconds as written: they may be negative, infinite, reversed or beyond the clip.

    Raises:
        Unreadable: there is no interval, or more than one (`5 to 10 to 15` holds two).
    """
    bracketed = (tuple(_TIME.findall(pair.group())) for pair in _BRACKETED.finditer(answer))
    spelled = [*_joined_pairs(answer), *bracketed]
    if len(spelled) != 1:
        raise Unreadable(f"{'more than one' if spelled else 'no'} interval in the answer")
    start, end = spelled[0]
    return to_seconds(start), to_seconds(end)


def read_intervals(text: str, most: int) -> tuple[Interval, ...]:
    """Read a list of at most `most` pairs, such as `[(5.2, 10.4), (0:12, 0:17)]`, and nothing beside it.

    Raises:
        Unreadable: not a list of pairs, too many, one that is reversed, or an end that is not finite.
    """
    if not _PAIR_LIST.fullmatch(text.strip()):
        raise Unreadable("not a list of (start, end) pairs")
    spelled = _TIME.findall(text)
    if len(spelled) > 2 * most:
        raise Unreadable(f"more than {most} intervals")
    times = [to_seconds(time) for time in spelled]
    intervals = tuple(zip(times[::2], times[1::2], strict=True))
    if not all(-math.inf < start <= end < math.inf for start, end in intervals):
        raise Unreadable("an interval is reversed or not finite")
    return intervals


def format_intervals(intervals: Iterable[Interval]) -> str:
    """A list of intervals in seconds, `[(5.20, 10.40), (12.00, 17.00)]`."""
    return "[" + ", ".join(f"({start:.2f}, {end:.2f})" for start, end in intervals) + "]"


def clip(interval: Interval, duration: float | None) -> Interval:
    """Move both ends into [0, duration]; an unknown duration leaves the interval as it is."""
    if duration is None:
        return interval
    start, end = interval
    return min(max(start, 0.0), duration), min(max(end, 0.0), duration)


def interval_iou(first: Interval, second: Interval) -> float:
    """Intersection over union in one dimension; 0 where either is reversed, of zero length or not finite."""
    if not (_has_length(first) and _has_length(second)):
        return 0.0
    shared = min(first[1], second[1]) - max(first[0], second[0])
    if shared <= 0:
        return 0.0
    # By lengths, as for unions below and in the no-model figures that go around: the hull is as right, but five
    # ActivityNet queries of which the whole clip has an IoU of exactly 1/2 round to below it this way only.
    covered = (first[1] - first[0]) + (second[1] - second[0]) - shared
    return min(1.0, shared / covered) if 0 < covered < math.inf else 0.0


def union_iou(predicted: Sequence[Interval], annotated: Sequence[Interval]) -> float:
    """IoU of two unions of intervals. Two empty lists agree (1); unions of zero length otherwise give 0."""
    if not predicted and not annotated:
        return 1.0
    return length_iou(merge(predicted), merge(annotated))


def why_apart(predicted: Sequence[Interval], annotated: Sequence[Interval], duration: float | None) -> str:
    """Why predicted intervals, before any clipping, have nothing of the annotated ones: in words, seconds."""
    if not predicted:
        return "no interval is named"
    if not all(math.isfinite(end) for interval in predicted for end in interval):
        return "an interval is infinite"
    if not any(map(_has_length, predicted)):
        return "no named interval ends after it starts"
    if duration is not None and not any(_has_length(clip(interval, duration)) for interval in predicted):
        return f"what is named lies outside the clip of {duration:g} s"
    spans = ", ".join(f"{start:g} to {end:g}" for start, end in annotated)
    if spans and not any(map(_has_length, annotated)):
        return f"the annotated {spans} s has no length"
    return f"no overlap with the annotated {spans} s" if spans else "no interval is annotated"


def length_iou(first: Sequence[Interval], second: Sequence[Interval]) -> float:
    """IoU of two lists of disjoint intervals; 0 where they cover nothing."""
    shared = shared_length(first, second)
    covered = sum(end - start for start, end in (*first, *second)) - shared
    # Rounding may leave the sum of the parts a little short of what they share.
    return min(1.0, shared / covered) if 0 < covered < math.inf else 0.0


def shared_length(first: Sequence[Interval], second: Sequence[Interval]) -> float:
    """Length of what two lists of disjoint intervals have in common."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in first for b in second)


def union_iop(predicted: Sequence[Interval], annotated: Sequence[Interval]) -> float:
    """Share of the predicted union that the annotated union covers; 0 where the prediction covers nothing."""
    union = merge(predicted)
    length = sum(end - start for start, end in union)
    return min(1.0, shared_length(union, merge(annotated)) / length) if 0 < length < math.inf else 0.0


def merge(intervals: Iterable[Interval]) -> list[Interval]:
    """The union as disjoint intervals in order; those reversed, of zero length or not finite add nothing."""
    merged: list[Interval] = []
    for start, end in sorted(filter(_has_length, intervals)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _has_length(interval: Interval) -> bool:
    return -math.inf < interval[0] < interval[1] < math.inf


def _joined_pairs(answer: str) -> Iterator[tuple[str, ...]]:
    """Spelling of every two neighbouring times with a separator, and nothing else, between them."""
    for left, right in pairwise(_LONE_TIME.finditer(answer)):
        start, end = left.group(1), right.group(1)
        between = answer[left.end() : right.start()].strip().lower()
        if not between and end.startswith("-"):  # `12.5 -17`: the minus is the separator
            between, end = "-", end[1:]
        if between in _SEPARATORS:
            yield start, end
