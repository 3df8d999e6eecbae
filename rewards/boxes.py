"""Bounding boxes [x0, y0, x1, y1], normalised to 0-1: how a list is read and how two lists are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rewards.plain import plain, without_markup
from rewards.quantities import MAX_CHARACTERS, NUMBER
from rewards.result import Unreadable

Box = tuple[float, float, float, float]

_FOUR = rf"\s*+{NUMBER}(?:\s*+,\s*+{NUMBER}){{3}}\s*+"
_BOX = rf"(?:\[{_FOUR}\]|\({_FOUR}\))"
_BOXES = rf"\s*+{_BOX}(?:\s*+,\s*+{_BOX})*\s*+(?:,\s*+)?"
_BOX_LIST = re.compile(rf"\[{_BOXES}\]|\({_BOXES}\)")
_BOX_OR_LIST = re.compile(rf"{_BOX}|{_BOX_LIST.pattern}")
_SEPARATORS = str.maketrans("[](),", "     ")
# The keys of JSON objects that name two corners or a box, in this order alone, and of one that names the whole answer.
_CORNERS = tuple(
    re.compile(
        r"\{" + ",".join(rf"""\s*+["']?{key}["']?\s*+:\s*+({NUMBER})\s*+""" for key in keys.split()) + r"\}"
    )
    for keys in ("x1 y1 x2 y2", "x0 y0 x1 y1", "xmin ymin xmax ymax", "x_min y_min x_max y_max")
)
_KEY = r"""\{\s*+["']?(?:bbox|box)(?:es)?(?:_2d)?["']?\s*+:\s*+"""
_NAMED = re.compile(rf"{_KEY}({_BOX})\s*+\}}")
_ALL_NAMED = re.compile(rf"{_KEY}({_BOX_LIST.pattern})\s*+\}}")


def read_boxes(answer: str, count: int) -> tuple[Box, ...]:
    """Read a list of exactly `count` boxes of four finite numbers, and nothing beside it.

    Brackets are square or round. A box may be an object, `{"bbox_2d": [0.1, 0.2, 0.5, 0.6]}` or `{"x1": 0.1, "y1": 0.2,
    "x2": 0.5, "y2": 0.6}`, as models are used to write it in pixels: its numbers must be from 0 to 1.

    Returns:
        The boxes as written: they may be inverted, empty or, outside objects, reach beyond 0-1.

    Raises:
        Unreadable: anything else.
    """
    return _read(answer, count, _BOX_LIST)


def read_box(answer: str) -> Box:
    """Read one box, `[0.1, 0.2, 0.5, 0.6]`, alone or as a list of one, and nothing beside it; see `read_boxes`.

    Raises:
        Unreadable: anything else.
    """
    return _read(answer, 1, _BOX_OR_LIST)[0]


def _read(answer: str, count: int, form: re.Pattern[str]) -> tuple[Box, ...]:
    text = answer.strip()
    has_keys = False
    if not form.fullmatch(text):
        text = without_markup(plain(answer)).strip()
        has_keys = "{" in text
        text = _without_keys(text) if has_keys else text
        if not form.fullmatch(text):
            raise Unreadable("the answer is not a list of [x0, y0, x1, y1] boxes")
    spelled = text.translate(_SEPARATORS).split()  # it matched: between separators there is nothing else
    if len(spelled) != 4 * count:
        raise Unreadable(f"{len(spelled) // 4} boxes instead of {count}")
    if max(map(len, spelled)) > MAX_CHARACTERS:
        raise Unreadable(f"a number is longer than {MAX_CHARACTERS} characters")
    numbers = [float(number) for number in spelled]
    if not all(map(math.isfinite, numbers)):
        raise Unreadable("a coordinate is not finite")
    if has_keys and not all(0 <= number <= 1 for number in numbers):
        raise Unreadable("an object with coordinates beyond 0 to 1, which may be pixels")
    return tuple([(x0, y0, x1, y1) for x0, y0, x1, y1 in zip(*[iter(numbers)] * 4, strict=True)])


def _without_keys(text: str) -> str:
    for corners in _CORNERS:
        text = corners.sub(r"[\1, \2, \3, \4]", text)
    text = _NAMED.sub(r"\1", text)
    whole = _ALL_NAMED.fullmatch(text)
    return whole[1] if whole else text


def clip(box: Box) -> Box:
    """Move every coordinate into 0-1."""
    x0, y0, x1, y1 = box
    if 0.0 <= x0 <= 1.0 and 0.0 <= y0 <= 1.0 and 0.0 <= x1 <= 1.0 and 0.0 <= y1 <= 1.0:
        return box  # nearly all of them, and much faster
    return min(max(x0, 0.0), 1.0), min(max(y0, 0.0), 1.0), min(max(x1, 0.0), 1.0), min(max(y1, 0.0), 1.0)


def box_iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes; 0 where either is inverted or empty."""
    ax0, ay0, ax1, ay1 = first
    bx0, by0, bx1, by1 = second
    if ax0 >= ax1 or ay0 >= ay1 or bx0 >= bx1 or by0 >= by1:
        return 0.0
    # Comparisons, because calls of `min` and `max` would take half of the time that scoring a track takes.
    width = (ax1 if ax1 < bx1 else bx1) - (ax0 if ax0 > bx0 else bx0)
    height = (ay1 if ay1 < by1 else by1) - (ay0 if ay0 > by0 else by0)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    covered = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared
    return min(1.0, shared / covered) if 0 < covered < math.inf else 0.0


def why_apart(predicted: Sequence[Box]) -> str:
    """Why boxes, before any clipping, have nothing of the annotated ones, in words."""
    inside = [clip(box) for box in predicted]
    if not any(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in predicted):
        return "no box has its right lower corner after its left upper one"
    if not any(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in inside):
        return "no box reaches into the frame, 0 to 1"
    return "no overlap with what is annotated"


def tracking_iou(predicted: Sequence[Box], annotated: Sequence[Box], counted: Sequence[bool]) -> float:
    """Mean IoU over the boxes that count; predictions are clipped to 0-1.

    Args:
        counted: Whether each box counts; at least one does.

    Raises:
        ValueError: the lists differ in length.
    """
    pairs = zip(predicted, annotated, counted, strict=True)
    ious = [box_iou(clip(p), a) for p, a, counts in pairs if counts]
    return sum(ious) / len(ious)
