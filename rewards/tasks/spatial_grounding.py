"""Spatial grounding: where in the frame is something? The answer is one box."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from rewards.boxes import Box, box_iou, clip, read_box, why_apart
from rewards.constants import best_of
from rewards.measures import mean_of, share_reaching
from rewards.spec import Choices, Constant, Items, Part, TaskOptions, TaskSpec
from rewards.targets import box_problem, read_box_target
from rewards.templates import format_box

# The corners of a constant box are multiples of 1/5 of the frame.
_GRID = [step / 5 for step in range(6)]


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Box:
    return read_box_target(target.get("box"), "target.box")


_BOX = Part[Box, TaskOptions](
    block="answer",
    key="box",
    component="iou",
    read=lambda text, case: read_box(text),
    measure=lambda box, case: box_iou(clip(box), case.truth),
    zero=lambda box, case: why_apart([box]),
)


def _baseline(items: Items[Box]) -> Constant:
    sides = list(combinations(_GRID, 2))
    boxes = [(x0, y0, x1, y1) for x0, x1 in sides for y0, y1 in sides]
    box = best_of(boxes, [truth for truth, _ in items], box_iou)
    return Constant(f"always {list(box)}", [{"answer": str(list(box))}] * len(items))


SPEC = TaskSpec[Box, TaskOptions](
    name="spatial_grounding",
    title="Spatial grounding",
    main="iou",
    parts=lambda options: (_BOX,),
    read_truth=_read_truth,
    problem=lambda question: box_problem(question.target.get("box")),
    ask=lambda question: f"Where is this: {question.question}?",
    answer=lambda question, options: (
        "its box as <answer>[x0, y0, x1, y1]</answer>, the left upper and the right lower corner, "
        "each number from 0 to 1."
    ),
    solution=lambda truth, options: {"answer": format_box(clip(truth), decimals=3)},
    baseline=_baseline,
    metrics=(
        mean_of("mIoU", "iou", "mean IoU"),
        share_reaching("IoU@0.5", "iou", 0.5, "share of IoU >= 0.5"),
    ),
    options=TaskOptions,
)
