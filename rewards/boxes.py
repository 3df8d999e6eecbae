"""Bounding boxes [x0, y0, x1, y1], normalised to 0-1: how a list is read and how two lists are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rewards.plain import plain, without_markup
from rewards.quantities import MAX_CHARACTERS, NUMBER
from rewards.result import Unreadable

Box = tuple[float, float, float, float]

_BOX = rf"\[\s*+{NUMBER}(?:\s*+,\s*+{NUMBER}){{3}}\s*+\]"
_BOX_LIST = re.compile(rf"\[\s*+{_BOX}(?:\s*+,\s*+{_BOX})*\s*+(?:,\s*+)?\]")
_OPENS_A_LIST = re.compile(r"\[\s*+\[")
_SEPARATORS = str.maketrans("[],", "   ")


def read_boxes(answer: str, count: int) -> tuple[Box, ...]:
    """Read a list of exactly `count` boxes of four finite numbers, and nothing beside it.

    Returns:
        The boxes as written: they may be inverted, empty or reach beyond 0-1.

    Raises:
        Unreadable: anything else.
    """
    text = answer.strip()
    if not _BOX_LIST.fullmatch(text):
        text = without_markup(plain(answer)).strip()
        if not _BOX_LIST.fullmatch(text):
            raise Unreadable("the answer is not a list of [x0, y0, x1, y1] boxes")
    spelled = text.translate(_SEPARATORS).split()  # it matched: between separators there is nothing else
    if len(spelled) != 4 * count:
        raise Unreadable(f"{len(spelled) // 4} boxes instead of {count}")
    if max(map(len, spelled)) > MAX_CHARACTERS:
        raise Unreadable(f"a number is longer than {MAX_CHARACTERS} characters")
    numbers = [float(number) for number in spelled]
    if not all(map(math.isfinite, numbers)):
        raise Unreadable("a coordinate is not finite")
    return tuple([(x0, y0, x1, y1) for x0, y0, x1, y1 in zip(*[iter(numbers)] * 4, strict=True)])


def read_box(answer: str) -> Box:
    """Read one box of four finite numbers, `[0.1, 0.2, 0.5, 0.6]`, alone or as a list of one, and nothing beside it.

    Raises:
        Unreadable: anything else.
    """
    text = without_markup(plain(answer)).strip()
    return read_boxes(text if _OPENS_A_LIST.match(text) else f"[{text}]", 1)[0]


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
