"""Paper mode: how VideoChat-R1's released reward functions read and measure, kept to compare published figures.

Reproduced with their quirks (arXiv 2504.06958, code as of April 2025): repeated tags pass the format check,
empty blocks too; a plain multiple-choice answer never gets the format reward, because the check also wants a
`<glue>` block; IoU of intervals divides by the hull; `1:02 to 1:10` reads as 2 to 1; the first capital A-G
anywhere is the letter; the box given in the prompt counts; nothing is clipped.

Where a released function raises, the component is 0 instead. Two scripts disagree about an interval and an
annotation of zero length at the same instant: we take the single-task script's 1. One narrowing: a tracking
answer whose coordinates are containers themselves is no list of boxes here. Released functions backtrack;
these scan, in linear time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise, permutations

from rewards.boxes import Box
from rewards.intervals import Interval, length_iou, merge

_JUNCTION = {
    pair: re.compile(rf"</{pair[0]}>\s*<{pair[1]}>") for pair in permutations(("think", "answer", "glue"), 2)
}
_LAST_INTERVAL = re.compile(r"(?<!\d)(\d++(?:\.\d*+)?) (?:to|and) (\d++(?:\.\d*+)?)", re.IGNORECASE)
_LETTER = re.compile(r"[A-G]")

# What Python's literal parser takes for a tuple of two decimals: no leading zero in a whole number.
_SECONDS = r"(?:(?:0++|[1-9][0-9]*+)(?![0-9.])|[0-9]++\.[0-9]++)"
_TUPLE = rf"\({_SECONDS},\s*+{_SECONDS}\)"
_TUPLES = re.compile(rf"\[(?:{_TUPLE}(?:,\s*+{_TUPLE})*,?)?\]\n?")
_NUMBER = re.compile(r"[0-9.]++")

_SPACE = r"[ \t\f\r]*+"
_PLAIN_NUMBER = r"[+-]?(?:[0-9]++\.[0-9]*+|\.[0-9]++|0++(?![1-9])|[1-9][0-9]*+)(?:[eE][+-]?[0-9]++)?"
_ELEMENT = rf"(?:{_PLAIN_NUMBER}|'[^'\\]*+'|\"[^\"\\]*+\"|None|True|False)"
_FOUR = rf"\[{_SPACE}{_ELEMENT}(?:{_SPACE},{_SPACE}{_ELEMENT}){{3}}{_SPACE}(?:,{_SPACE})?\]"
_EIGHT = re.compile(
    rf"{_SPACE}\[{_SPACE}{_FOUR}(?:{_SPACE},{_SPACE}{_FOUR}){{7}}{_SPACE}(?:,{_SPACE})?\]{_SPACE}"
)


def has_layout(text: str, order: Sequence[str]) -> bool:
    """Whether a stripped response runs from the first opening tag to the last closing one.

    Like the released pattern it lets anything stand inside the blocks, more tags included.
    """
    opening, closing = f"<{order[0]}>", f"</{order[-1]}>"
    if not text.startswith(opening) or not text.endswith(closing):
        return False
    position, end = len(opening), len(text) - len(closing)
    for pair in pairwise(order):
        junction = _JUNCTION[pair].search(text, position, max(position, end))
        if junction is None:
            return False
        position = junction.end()
    return position <= end


def first_block(text: str, name: str) -> str | None:
    """Content of the first block of that name, up to its first closing tag."""
    _, opened, rest = text.partition(f"<{name}>")
    content, closed, _ = rest.partition(f"</{name}>")
    return content if opened and closed else None


def last_block(text: str, name: str) -> str | None:
    """Content of the last block of that name, blocks being counted from the left."""
    last, position = None, 0
    while (opening := text.find(f"<{name}>", position)) >= 0:
        start = opening + len(name) + 2
        end = text.find(f"</{name}>", start)
        if end < 0:
            break
        last, position = text[start:end], end + len(name) + 3
    return last


def last_interval(text: str) -> Interval | None:
    """The last `number to number` of the last answer block, unless it is reversed or not finite."""
    pairs = _LAST_INTERVAL.findall(last_block(text, "answer") or "")
    if not pairs:
        return None
    start, end = float(pairs[-1][0]), float(pairs[-1][1])
    return (start, end) if start <= end < math.inf else None


def hull_iou(predicted: Interval, annotated: Interval) -> float:
    """Intersection over the length of the common hull; a hull of zero length gives 1."""
    shared = max(0.0, min(predicted[1], annotated[1]) - max(predicted[0], annotated[0]))
    hull = max(predicted[1], annotated[1]) - min(predicted[0], annotated[0])
    if hull == 0.0:
        return 1.0
    return shared / hull if hull < math.inf else 0.0


def evidence_intervals(glue: str | None) -> list[Interval] | None:
    """The intervals of a literal list of tuples, `[(5.2, 10.4)]`, none reversed; None for anything else."""
    if glue is None or not _TUPLES.fullmatch(glue):
        return None
    times = [float(number) for number in _NUMBER.findall(glue)]
    intervals = list(zip(times[::2], times[1::2], strict=True))
    return intervals if all(start <= end < math.inf for start, end in intervals) else None


def evidence_iou(predicted: Sequence[Interval], annotated: Sequence[Interval]) -> float:
    """IoU of the two unions; two unions of zero length agree."""
    first, second = merge(predicted), merge(annotated)
    return length_iou(first, second) if first or second else 1.0


def first_letter(answer: str | None) -> str | None:
    """The first capital A-G anywhere, words included.

    The released function first removes phrases like "The answer is"; none of those it does remove holds such
    a capital.
    """
    match = _LETTER.search(answer or "")
    return match.group() if match else None


def is_box_list(answer: str | None) -> bool:
    """Whether an answer is a literal list of eight lists of four, whatever their elements."""
    return answer is not None and _EIGHT.fullmatch(answer.replace("\n", "")) is not None


def eight_boxes(answer: str | None) -> list[Box] | None:
    """The eight boxes of an answer, or None where it is no such list or an element is not a finite number."""
    if answer is None or not is_box_list(answer):
        return None
    elements = answer.replace("\n", "").translate(str.maketrans("[],", "   ")).split()
    if not all(re.fullmatch(_PLAIN_NUMBER, element) for element in elements):
        return None
    numbers = [float(element) for element in elements]
    if not all(map(math.isfinite, numbers)):
        return None
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in zip(*[iter(numbers)] * 4, strict=True)]


def mean_iou(predicted: Sequence[Box], annotated: Sequence[Box]) -> float:
    """Mean IoU over all boxes, unclipped, the given one included; 0 if the annotation has another number."""
    if len(predicted) != len(annotated):
        return 0.0
    return sum(map(plain_box_iou, predicted, annotated)) / len(annotated)


def plain_box_iou(first: Box, second: Box) -> float:
    """IoU without any check of the boxes; 0 where the union has no area."""
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    shared = width * height
    covered = _area(first) + _area(second) - shared
    return min(1.0, max(0.0, shared / covered)) if covered and math.isfinite(covered) else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
