"""Annotations: checks a target once and gives it a typed form. Only its shape is judged, never its values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from rewards.boxes import Box
from rewards.intervals import Interval
from rewards.letters import read_letter
from rewards.tasks import Unreadable

MAX_OPTIONS = 26

_LARGEST = sys.float_info.max
_NUMBERS = (int, float)


class BadTarget(ValueError):
    """A target that the task cannot be scored against; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """A checked target; only the fields of its task are filled.

    Attributes:
        spans: The annotated interval, or the evidence intervals, in seconds.
        boxes: Annotated boxes [x0, y0, x1, y1], normalised; the first is given away by the prompt.
        letter: The right option, an upper-case letter.
        num_options: How many options the question has, where that is known.
    """

    spans: tuple[Interval, ...] = ()
    boxes: tuple[Box, ...] = ()
    letter: str = ""
    num_options: int | None = None


def read_target(task: str, target: object, num_options: int | None = None) -> Truth:
    """Check a target against its task.

    Raises:
        BadTarget: a key is missing, its value has the wrong shape, a number is not finite, or the right
            letter is not among the options.
    """
    if not isinstance(target, Mapping):
        raise BadTarget(f"target must be an object, found {type(target).__name__}")
    if num_options is not None and (type(num_options) is not int or not 1 <= num_options <= MAX_OPTIONS):
        raise BadTarget(f"the number of options must be 1 to {MAX_OPTIONS}, found {num_options!r:.40}")
    return _READERS[task](target, num_options)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number that fits a float (a boolean is not a number)."""
    return isinstance(value, _NUMBERS) and value.__class__ is not bool and -_LARGEST <= value <= _LARGEST


def _temporal_grounding(target: Mapping[str, Any], num_options: int | None) -> Truth:
    return Truth(spans=(_interval(target.get("interval"), "target.interval"),))


def _tracking(target: Mapping[str, Any], num_options: int | None) -> Truth:
    boxes = target.get("boxes")
    if not isinstance(boxes, (list, tuple)) or len(boxes) < 2:
        raise BadTarget("target.boxes must be a list of boxes, the given first one and at least one more")
    return Truth(boxes=tuple(_box(box) for box in boxes))


def _multiple_choice(target: Mapping[str, Any], num_options: int | None) -> Truth:
    return Truth(letter=_letter(target, num_options), num_options=num_options)


def _grounded_qa(target: Mapping[str, Any], num_options: int | None) -> Truth:
    intervals = target.get("intervals")
    if not isinstance(intervals, (list, tuple)):
        raise BadTarget("target.intervals must be a list of [start, end] in seconds")
    spans = tuple(_interval(interval, "target.intervals") for interval in intervals)
    return Truth(spans=spans, letter=_letter(target, num_options), num_options=num_options)


def _letter(target: Mapping[str, Any], num_options: int | None) -> str:
    answer = target.get("answer")
    if not isinstance(answer, str):
        raise BadTarget("target.answer must be an option letter")
    try:
        return read_letter(answer, num_options)
    except Unreadable as error:
        raise BadTarget(f"target.answer: {error}") from error


def _interval(value: object, name: str) -> Interval:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(is_number, value)):
        raise BadTarget(f"{name} must hold [start, end] as two finite numbers of seconds")
    return (float(value[0]), float(value[1]))


def _box(value: object) -> Box:
    if not isinstance(value, (list, tuple)) or len(value) != 4 or not all(map(is_number, value)):
        raise BadTarget("target.boxes must hold [x0, y0, x1, y1] as four finite numbers")
    x0, y0, x1, y1 = value
    return (float(x0), float(y0), float(x1), float(y1))


_READERS: dict[str, Callable[[Mapping[str, Any], int | None], Truth]] = {
    "temporal_grounding": _temporal_grounding,
    "tracking": _tracking,
    "multiple_choice": _multiple_choice,
    "grounded_qa": _grounded_qa,
}
