"""Tracking: where is an object at eight moments of the video? The answer is eight boxes, the first of them given.

Where the object is absent there is no box to find: strict scoring leaves such moments out, the paper's does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rewards import boxes, got10k, paper
from rewards.boxes import Box
from rewards.measures import Fraction, Metric, Scored
from rewards.spec import Choices, Constant, Items, PaperScore, Part, Question, TaskOptions, TaskSpec
from rewards.targets import BadTarget, are_flags, box_problem, counted_boxes, is_number, read_box_target
from rewards.templates import Template, format_box, layout

NUM_BOXES = 8


class Track(NamedTuple):
    """A checked target.

    Attributes:
        counted: Whether each box counts, as `counted_boxes` has it.
    """

    boxes: tuple[Box, ...]
    counted: tuple[bool, ...]


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Track:
    annotated = target.get("boxes")
    if not isinstance(annotated, (list, tuple)) or len(annotated) < 2:
        raise BadTarget("target.boxes must be a list of boxes, the given first one and at least one more")
    return Track(tuple([read_box_target(box, "target.boxes") for box in annotated]), counted_boxes(target))


def _problem(question: Question) -> str | None:
    target, frames = question.target, question.box_frames
    annotated, absent = target.get("boxes"), target.get("absent", [False] * NUM_BOXES)
    if not isinstance(annotated, list) or len(annotated) != NUM_BOXES:
        return f"target.boxes must be {NUM_BOXES} boxes [x0, y0, x1, y1]"
    if not are_flags(absent, NUM_BOXES):
        return f"target.absent must be {NUM_BOXES} booleans"
    if absent[0] or all(absent[1:]):
        return "target.absent must be false of the first box and of one more"
    cover = target.get("cover", [1] * NUM_BOXES)
    if not isinstance(cover, list) or len(cover) != NUM_BOXES or not all(map(is_number, cover)):
        return f"target.cover must be {NUM_BOXES} shares from 0 to 1"
    if frames and len(frames) != NUM_BOXES:
        return f"box_frames must name {NUM_BOXES} frames, found {len(frames)}"
    return next((problem for problem in map(box_problem, annotated, absent) if problem), None)


def _ask(question: Question) -> str:
    first = format_box(question.target["boxes"][0])
    return f"Follow {question.question}, which starts at {first}."


def _answer(question: Question, options: TaskOptions) -> str:
    return (
        f"its box [x0, y0, x1, y1], each number from 0 to 1, at {_moments(question)}, "
        f"as a list of {NUM_BOXES} lists inside <answer> </answer>."
    )


def _solution(truth: Track, options: TaskOptions) -> dict[str, str]:
    written = (format_box(boxes.clip(box), decimals=3) for box in truth.boxes)
    return {"answer": f"[{', '.join(written)}]"}


def _moments(question: Question) -> str:
    """Which moments the boxes are asked for at: as exactly as the annotation knows them."""
    if question.box_times:
        return f"{_listed([f'{round(time, 2):g}' for time in question.box_times])} seconds from the start of the video"
    gaps = [later - earlier for earlier, later in pairwise(question.box_frames)]
    if gaps and max(gaps) - min(gaps) > 1:
        return f"the frames {_listed([str(frame) for frame in question.box_frames])} of the video"
    return f"{NUM_BOXES} evenly spaced moments of the video, the first included"


def _listed(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _why_zero(predicted: Sequence[boxes.Box], counted: Sequence[bool]) -> str:
    which = [box for box, counts in zip(predicted, counted, strict=True) if counts]
    return f"of the boxes that count: {boxes.why_apart(which)}"


_BOXES = Part[Track, TaskOptions](
    block="answer",
    key="boxes",
    component="iou",
    read=lambda text, case: boxes.read_boxes(text, len(case.truth.boxes)),
    measure=lambda predicted, case: boxes.tracking_iou(predicted, *case.truth),
    zero=lambda predicted, case: _why_zero(predicted, case.truth.counted),
)


def _baseline(items: Items[Track]) -> Constant:
    answers = [{"answer": str([list(truth.boxes[0])] * len(truth.boxes))} for truth, _ in items]
    return Constant("first box repeated", answers)


def _paper(text: str, truth: Track, template: Template) -> PaperScore:
    answer = paper.first_block(text, "answer")
    predicted = paper.eight_boxes(answer)
    is_formed = paper.is_box_list(answer) and paper.has_layout(text, layout(["answer"], template))
    rewards = {
        "format": float(is_formed),
        "iou": paper.mean_iou(predicted, truth.boxes) if predicted else 0.0,
    }
    return PaperScore(rewards, {"boxes": predicted})


def _overlap(sample: Scored) -> float:
    predicted, annotated = sample.predicted("boxes") or (), sample.target["boxes"]
    if len(predicted) != len(annotated):
        return 0.0
    return boxes.tracking_iou(predicted, annotated, counted_boxes(sample.target))


def _overlap_with_first(sample: Scored) -> float:
    predicted = sample.predicted("boxes")
    return paper.mean_iou(predicted, sample.target["boxes"]) if predicted else 0.0


def _reaching(threshold: float) -> Callable[[Scored], Fraction]:
    return lambda sample: (float(_overlap_with_first(sample) >= threshold), 1.0)


METRICS = (
    # Not the component: paper mode counts the given box there.
    Metric("AO", lambda sample: (_overlap(sample), 1.0), "mean IoU of the boxes after the given first"),
    Metric(
        "AO with first",
        lambda sample: (_overlap_with_first(sample), 1.0),
        "mean IoU of all 8 boxes (VideoChat-R1)",
    ),
    *(
        Metric(
            f"AO with first >= {t}", _reaching(t), f"share of sequences with that AO >= {t} (VideoChat-R1)"
        )
        for t in (0.5, 0.7)
    ),
    *got10k.METRICS,
)

SPEC = TaskSpec[Track, TaskOptions](
    name="tracking",
    title="Tracking",
    main="iou",
    parts=lambda options: (_BOXES,),
    read_truth=_read_truth,
    problem=_problem,
    ask=_ask,
    answer=_answer,
    solution=_solution,
    baseline=_baseline,
    metrics=METRICS,
    options=TaskOptions,
    paper=_paper,
)
