"""Pieces of annotations: each is checked once and given a typed form.

Two judges look at a target. `read_...` judges its shape alone, because a benchmark's odd values still count in its
denominators; `..._problem` also judges values, because nothing can be learned from an answer that cannot be right.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, TypeGuard

from rewards.boxes import Box
from rewards.intervals import Interval
from rewards.letters import read_letter
from rewards.plain import says_something
from rewards.result import Unreadable
from rewards.spec import Choices

MAX_OPTIONS = 26

_LARGEST = sys.float_info.max
_NUMBERS = (int, float)


class BadTarget(ValueError):
    """A target that the task cannot be scored against; the message says what is wrong with it."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number that fits a float (a boolean is not a number)."""
    return isinstance(value, _NUMBERS) and value.__class__ is not bool and -_LARGEST <= value <= _LARGEST


def are_numbers(values: Sequence[object]) -> bool:
    """Whether all values are numbers. Most are floats with a finite sum, which is quicker to see than one by one."""
    return (set(map(type, values)) == {float} and math.isfinite(sum(values))) or all(map(is_number, values))  # type: ignore[arg-type]


def read_interval_target(value: object, name: str) -> Interval:
    """`[start, end]` in seconds.

    Raises:
        BadTarget: it is not two finite numbers.
    """
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not are_numbers(value):
        raise BadTarget(f"{name} must hold [start, end] as two finite numbers of seconds")
    return (float(value[0]), float(value[1]))


def read_box_target(value: object, name: str) -> Box:
    """`[x0, y0, x1, y1]`.

    Raises:
        BadTarget: it is not four finite numbers.
    """
    if not isinstance(value, (list, tuple)) or len(value) != 4 or not are_numbers(value):
        raise BadTarget(f"{name} must hold [x0, y0, x1, y1] as four finite numbers")
    x0, y0, x1, y1 = value
    return (float(x0), float(y0), float(x1), float(y1))


def read_letter_target(target: Mapping[str, Any], num_options: int | None) -> str:
    """The right option of `{"answer": "C"}`, an upper-case letter.

    Raises:
        BadTarget: it is no letter, or none of the options.
    """
    answer = target.get("answer")
    if not isinstance(answer, str):
        raise BadTarget("target.answer must be an option letter")
    try:
        return read_letter(answer, num_options)
    except Unreadable as error:
        raise BadTarget(f"target.answer: {error}") from error


def read_text_target(target: Mapping[str, Any], key: str) -> str:
    """A text that says something.

    Raises:
        BadTarget: it is none.
    """
    text = target.get(key)
    if not isinstance(text, str) or not says_something(text):
        raise BadTarget(f"target.{key} must be a text that is not blank")
    return text


def read_number_target(target: Mapping[str, Any]) -> float:
    """The number of `{"number": 42}`.

    Raises:
        BadTarget: it is none, or not finite.
    """
    number = target.get("number")
    if not is_number(number):
        raise BadTarget("target.number must be a finite number")
    return float(number)


def option_texts(choices: Choices) -> tuple[str, ...]:
    """The texts of the options, where they are known."""
    return tuple(map(str, choices)) if isinstance(choices, (list, tuple)) else ()


def count_options(choices: Choices) -> int | None:
    """How many options a question has.

    Raises:
        BadTarget: not 1 to 26 of them.
    """
    if choices is None:
        return None
    count = len(choices) if isinstance(choices, (list, tuple)) else choices
    if type(count) is not int or not 1 <= count <= MAX_OPTIONS:
        raise BadTarget(f"the number of options must be 1 to {MAX_OPTIONS}, found {choices!r:.40}")
    return count


def counted_boxes(target: Mapping[str, Any]) -> tuple[bool, ...]:
    """Whether each box of a track counts: not the first, which the prompt gives away, nor where the object is absent.

    Raises:
        BadTarget: `absent` does not say true or false of each box, or none would count.
    """
    count = len(target["boxes"])
    absent = target.get("absent", [False] * count)
    if not are_flags(absent, count) or all(absent[1:]):
        raise BadTarget(f"target.absent must be {count} booleans, false of one box after the first")
    return (False, *[not gone for gone in absent[1:]])


def are_flags(values: object, count: int) -> TypeGuard[Sequence[bool]]:
    """Whether a value is a list of so many booleans."""
    return isinstance(values, list) and len(values) == count and set(map(type, values)) <= {bool}


def interval_problem(interval: object, duration: float | None) -> str | None:
    """Why an interval cannot be found in a clip of that many seconds, or None."""
    if duration is None:
        return "missing duration, which a target with times needs"
    if not isinstance(interval, list) or len(interval) != 2 or not are_numbers(interval):
        return f"target interval must be [start, end], two numbers of seconds, found {interval!r:.60}"
    start, end = interval
    if not start < end:
        return f"target interval {interval} must satisfy start < end"
    if start >= duration or end <= 0:
        return f"target interval {interval} lies outside the clip of {duration:g} s"
    return None


def box_problem(box: object, is_absent: bool = False) -> str | None:
    """Why a box cannot be found in a frame, or None. Predictions are cut to 0-1 before they are compared.

    Args:
        is_absent: Nothing is looked for: any four numbers will do.
    """
    if not isinstance(box, list) or len(box) != 4 or not are_numbers(box):
        return f"target box must be [x0, y0, x1, y1], found {box!r:.60}"
    x0, y0, x1, y1 = box
    if not is_absent and (max(x0, 0) >= min(x1, 1) or max(y0, 0) >= min(y1, 1)):
        return f"target box {box} covers nothing of the frame: inverted, empty, or not normalised to 0-1"
    return None


def letter_problem(letter: object, num_options: int) -> str | None:
    """Why a letter cannot be the right one of so many options, or None."""
    letters = ascii_uppercase[:num_options]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in letters:
        return f"target.answer must be one of {letters or 'the options (none given)'}, found {letter!r:.60}"
    return None


def text_problem(target: Mapping[str, Any], key: str) -> str | None:
    """Why the text under a key of the target cannot be compared with, or None."""
    try:
        read_text_target(target, key)
    except BadTarget as error:
        return str(error)
    return None


def number_problem(target: Mapping[str, Any]) -> str | None:
    """Why the number of the target cannot be compared with, or None."""
    return None if is_number(target.get("number")) else "target.number must be a finite number"
