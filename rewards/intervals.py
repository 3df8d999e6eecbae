"""Intervals of time, in seconds: how they are read from an answer, written, and compared."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from rewards.neighbours import FIGURE
from rewards.quantities import Figure, find_times
from rewards.result import Unreadable
from rewards.words import ENDS, ENDS_AT, STARTS, STARTS_AT

Interval = tuple[float, float]

# What nearly every answer is, and what the grammar makes the same of.
_TIME = r"([0-9]{1,14}(?:\.[0-9]{1,16})?)(?:\s?s(?:econds?)?)?"
_USUAL = re.compile(rf"\s*+(?:[Ff]rom )?{_TIME}(?: to | and |\s?[-–]\s?){_TIME}\s*+")
_USUAL_PAIR = rf"(?:\({_TIME}, ?{_TIME}\)|\[{_TIME}, ?{_TIME}\])"
_USUAL_LIST = re.compile(rf"\s*+\[{_USUAL_PAIR}(?:, ?{_USUAL_PAIR})*\]\s*+")
_USUAL_TIME = re.compile(_TIME)

_F = FIGURE
_IN_BRACKETS = rf"\[ ?{_F} ?, ?{_F} ?\]|\( ?{_F} ?, ?{_F} ?\)"
_STARTS = rf"(?<!\w)(?:(?:{STARTS}) ?[:=]|{STARTS_AT} ) ?{_F}"
_ENDS = rf"(?<!\w)(?:(?:{ENDS}) ?[:=]|{ENDS_AT} ) ?{_F}"
_BETWEEN_KEYS = r" ?(?:[,;](?: and\b)?|and\b)? ?(?:it )?(?:- )?"
_FORWARDS, _BACKWARDS = rf"{_STARTS}{_BETWEEN_KEYS}{_ENDS}", rf"{_ENDS}{_BETWEEN_KEYS}{_STARTS}"
_KEYED = rf"{_FORWARDS}|(?P<backwards>{_BACKWARDS})"
_ABOUT = r"(?:(?:[~≈]|about|around|approximately|roughly) ?)?"

_BRACKETED_PAIR = re.compile(_IN_BRACKETS)
_KEYED_PAIR = re.compile(_KEYED, re.IGNORECASE)
# Only the first of them is taken, so that `5 to 10 to 15` holds two pairs.
_JOINED_PAIR = re.compile(rf"{_F}(?= ?(?:to|and|-{{1,3}}|[–~→到至]) ?{_ABOUT}{_F})", re.IGNORECASE)
# A figure that is enumerated with another, or of which one is a part: `5 to 10, 15`, `5 to 10 or 15`, `5 to 10 of 100`.
_ENUMERATED = re.compile(rf"{_F} ?(?:[,;] ?(?:or|and)?|/|or|of) ?{_F}", re.IGNORECASE)

# `5 to 10 seconds after the jump` counts from another moment than the start of the clip.
_SINCE = re.compile(rf"{_F} (?:after|into)\b", re.IGNORECASE)
# Of figures without a unit: seconds, or parts of all?
_SHARE = re.compile(
    rf"{_F} of (?:\w+ ){{0,2}}(?:video|clip|duration|length|film|movie|footage)\b", re.IGNORECASE
)

_ITEM = rf"(?:{_IN_BRACKETS}|\{{ ?(?:{_FORWARDS}|{_BACKWARDS}) ?\}})"
_ONE_ITEM = re.compile(rf"{_IN_BRACKETS}|{_KEYED}", re.IGNORECASE)
_ITEMS = rf" ?(?:{_ITEM}(?: ?, ?{_ITEM})* ?(?:, ?)?)?"
_LIST = re.compile(rf"\[{_ITEMS}\]|\({_ITEMS}\)", re.IGNORECASE)

Pair = tuple[Figure, Figure]


def read_interval(answer: str) -> Interval:
    """Read the one interval of an answer block: `12.5s to 17 s`, `[12.5, 17]`, `0:12 - 0:17`, `1 to 2 minutes`.

    Words around it are passed over, unless they may change what its numbers mean.

    Returns:
        Start and end in seconds as written: they may be negative, infinite, reversed or beyond the clip.

    Raises:
        Unreadable: there is no interval, or more than one (`5 to 10 to 15` holds two).
    """
    if usual := _USUAL.fullmatch(answer):
        return float(usual[1]), float(usual[2])
    start, end = _the_pair(answer)
    return start.value, end.value


def read_intervals(text: str, most: int) -> tuple[Interval, ...]:
    """Read a list of at most `most` pairs, such as `[(5.2, 10.4), (0:12, 0:17)]`, and nothing beside it.

    Raises:
        Unreadable: not a list of pairs, too many, one that is reversed, or an end that is not finite.
    """
    if _USUAL_LIST.fullmatch(text):
        times = list(map(float, _USUAL_TIME.findall(text)))
        intervals = list(zip(times[::2], times[1::2], strict=True))
    else:
        intervals = [(start.value, end.value) for start, end in _listed_pairs(text)]
    if len(intervals) > most:
        raise Unreadable(f"more than {most} intervals")
    if not all(-math.inf < start <= end < math.inf for start, end in intervals):
        raise Unreadable("an interval is reversed or not finite")
    return tuple(intervals)


def read_time(text: str) -> float:
    """Read a text that is one time, in seconds: `12.5`, `0:12.5`, `1 min 5 s`.

    Raises:
        Unreadable: it is anything else, or the time is not finite.
    """
    figures, outline = find_times(text)
    if outline != FIGURE or not math.isfinite(figures[0].value):
        raise Unreadable("not one finite time")
    return figures[0].value


def find_intervals(text: str) -> list[Pair]:
    """The interval of an answer or those of a list, as they stand in the text; empty where neither can be read."""
    for read in (_listed_pairs, lambda answer: [_the_pair(answer)]):
        try:
            return read(text)
        except Unreadable:
            continue
    return []


def _the_pair(answer: str) -> Pair:
    figures, outline = find_times(answer)
    keyed = list(_KEYED_PAIR.finditer(outline))
    bracketed, joined = list(_BRACKETED_PAIR.finditer(outline)), list(_JOINED_PAIR.finditer(outline))
    places = [outline.count(_F, 0, match.start()) for match in (*keyed, *bracketed, *joined)]
    is_enumerated = len(_ENUMERATED.findall(outline)) > len(bracketed) and not keyed
    if len(places) != 1 or is_enumerated or (keyed and len(figures) != 2):
        raise Unreadable(f"{'more than one' if places else 'no'} interval in the answer")
    first, second = figures[places[0] : places[0] + 2]
    if _SINCE.search(outline):
        raise Unreadable("times that count from another moment than the start")
    if second.scale is None and _SHARE.search(outline):
        raise Unreadable("shares of the clip, or seconds")
    if keyed and keyed[0]["backwards"]:
        first, second = second, first
    return _in_seconds(first, second, can_share=not keyed)


def _listed_pairs(text: str) -> list[Pair]:
    figures, outline = find_times(text)
    if not _LIST.fullmatch(outline):
        raise Unreadable("not a list of (start, end) pairs")
    pairs = zip(figures[::2], figures[1::2], _ONE_ITEM.finditer(outline), strict=True)
    ordered = [(b, a) if item["backwards"] else (a, b) for a, b, item in pairs]
    return [_in_seconds(first, second, can_share=False) for first, second in ordered]


def _in_seconds(first: Figure, second: Figure, can_share: bool) -> Pair:
    """Start and end, where they can share one with the unit that the second names for both: `1 to 2 minutes`.

    Raises:
        Unreadable: a number without a unit stands beside one with another unit than seconds: `1 min to 80`.
    """
    if can_share and first.scale is None and not second.is_whole_time and second.scale not in (None, 1.0):
        first = first._replace(value=first.value * (second.scale or 1.0), scale=second.scale)
        if first.value > second.value:
            raise Unreadable("of two times only one has a unit, and it cannot be that of both")
    for one, other in ((first, second), (second, first)):
        if one.scale is None and (other.scale not in (None, 1.0) or (other.is_whole_time and other.unit)):
            raise Unreadable("of two times only one has a unit")
    return first, second


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
