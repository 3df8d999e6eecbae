"""Strict scoring, the default: harmless spellings are read, and nothing ambiguous is.

Format and content are judged separately: a wrong layout costs the format component alone, and the others are
scored from the one answer block (the one `<glue>` block for evidence) as long as there is exactly one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards import boxes, intervals
from rewards.boxes import Box
from rewards.intervals import Interval
from rewards.letters import read_letter
from rewards.parsing import Blocks, find_blocks
from rewards.targets import Truth
from rewards.tasks import Score, Unreadable, make_score


@dataclass(frozen=True)
class Part:
    """One thing a task asks for: the block it stands in, how it is read and how it is measured.

    Attributes:
        key: Name of what is read, the same as in a target.
        read: From the block's content; raises `Unreadable`.
        measure: Value in [0, 1] of what was read, given the truth and the clip's duration in seconds.
        zero: What it means when the measure is 0.
    """

    block: str
    key: str
    component: str
    read: Callable[[str, Truth], Any]
    measure: Callable[[Any, Truth, float | None], float]
    zero: str


def measure_interval(interval: Interval, truth: Truth, duration: float | None) -> float:
    """IoU of the interval cut to the clip; 0 where an end is infinite, though clipping would mend it."""
    if not all(map(math.isfinite, interval)):
        return 0.0
    return intervals.interval_iou(intervals.clip(interval, duration), truth.spans[0])


def measure_evidence(evidence: Sequence[Interval], truth: Truth, duration: float | None) -> float:
    """Union IoU of the evidence intervals clipped to the clip."""
    return intervals.union_iou([intervals.clip(interval, duration) for interval in evidence], truth.spans)


def measure_boxes(predicted: Sequence[Box], truth: Truth, duration: float | None) -> float:
    """Mean IoU over all boxes but the given first."""
    return boxes.tracking_iou(predicted, truth.boxes)


def measure_letter(letter: str, truth: Truth, duration: float | None) -> float:
    """1 for the right letter, else 0."""
    return float(letter == truth.letter)


_INTERVAL = Part(
    block="answer",
    key="interval",
    component="iou",
    read=lambda text, truth: intervals.read_interval(text),
    measure=measure_interval,
    zero="the interval is reversed, infinite, empty inside the clip, or misses the annotation",
)
_BOXES = Part(
    block="answer",
    key="boxes",
    component="iou",
    read=lambda text, truth: boxes.read_boxes(text, len(truth.boxes)),
    measure=measure_boxes,
    zero="every box after the first is inverted, empty or misses the annotation",
)
_LETTER = Part(
    block="answer",
    key="answer",
    component="accuracy",
    read=lambda text, truth: read_letter(text, truth.num_options),
    measure=measure_letter,
    zero="another option is right",
)
_EVIDENCE = Part(
    block="glue",
    key="intervals",
    component="evidence_iou",
    read=lambda text, truth: intervals.read_evidence(text),
    measure=measure_evidence,
    zero="the evidence is empty or misses the annotation",
)
_PARTS: Mapping[str, tuple[Part, ...]] = {
    "temporal_grounding": (_INTERVAL,),
    "tracking": (_BOXES,),
    "multiple_choice": (_LETTER,),
    "grounded_qa": (_LETTER, _EVIDENCE),
}


def score(task: str, response: str, truth: Truth, duration: float | None, thinking: bool) -> Score:
    """Score one response by the strict definition.

    Args:
        duration: Length of the clip in seconds, to which predictions are clipped; None where it is unknown.
        thinking: Whether the prompt asked for a `<think>` block before the answer.
    """
    parts = _PARTS[task]
    blocks = find_blocks(response)
    layout = blocks.layout_problem([*(["think"] if thinking else []), *(part.block for part in parts)])
    reasons = [layout] if layout else []
    rewards = {"format": 0.0 if layout else 1.0}
    prediction: dict[str, Any] = {}
    for part in parts:
        value, problem = _read(part, blocks, truth)
        rewards[part.component] = 0.0 if problem else part.measure(value, truth, duration)
        if problem:
            rewards["format"] = 0.0
        elif _is_finite(part, value):
            prediction[part.key] = value
        if rewards[part.component] == 0.0:
            reasons.append(problem or part.zero)
    return make_score(rewards, prediction, reasons)


def _read(part: Part, blocks: Blocks, truth: Truth) -> tuple[Any, str | None]:
    """What a part reads from its block, or None and why it cannot."""
    try:
        return part.read(blocks.only(part.block), truth), None
    except Unreadable as error:
        return None, str(error)


def _is_finite(part: Part, value: Any) -> bool:
    # Only an interval is read with infinite ends, which JSON could not hold.
    return part is not _INTERVAL or all(map(math.isfinite, value))
