"""Temporal grounding: when does an event happen? The answer is an interval in seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from rewards import paper
from rewards.constants import best_share_of_clip, clip_lengths
from rewards.intervals import (
    Interval,
    clip,
    format_intervals,
    interval_iou,
    read_interval,
    read_intervals,
    union_iou,
    why_apart,
)
from rewards.measures import mean_of, share_reaching
from rewards.result import Unreadable
from rewards.spec import (
    Case,
    Choices,
    Constant,
    Items,
    PaperScore,
    Part,
    Question,
    TaskOptions,
    TaskSpec,
    Trivial,
)
from rewards.targets import interval_problem, read_interval_target
from rewards.templates import Template, layout


class GroundingOptions(TaskOptions):
    """Options of temporal grounding."""

    shaping: ClassVar[frozenset[str]] = TaskOptions.shaping | {"boundary_penalty"}

    boundary_penalty: bool = Field(
        False,
        description="Multiply the IoU by 1 minus each boundary's distance from the annotated one, as a share of the "
        "clip (Time-R1).",
    )
    max_intervals: int = Field(
        1,
        ge=1,
        description="Most intervals of an answer, intervals; above 1 the prompt asks for a list, and IoU is that of "
        "the union (VideoChat-R1.5 allows 3).",
    )

    @model_validator(mode="after")
    def _one_interval_has_boundaries(self) -> GroundingOptions:
        if self.boundary_penalty and self.max_intervals > 1:
            raise ValueError("boundary_penalty compares one interval with one; leave max_intervals at 1")
        return self


def penalised_iou(predicted: Interval, annotated: Interval, duration: float | None) -> float:
    """IoU times `(1 - |start error| / T)(1 - |end error| / T)` (Time-R1, arXiv 2503.13377, section 3.2).

    0 where T, the duration in seconds, is unknown: the boundaries cannot be judged.
    """
    if duration is None:
        return 0.0
    errors = (abs(p - a) / duration for p, a in zip(predicted, annotated, strict=True))
    return interval_iou(predicted, annotated) * math.prod(max(0.0, 1.0 - error) for error in errors)


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Interval:
    return read_interval_target(target.get("interval"), "target.interval")


def _problem(question: Question) -> str | None:
    return interval_problem(question.target.get("interval"), question.duration)


def _measure(interval: Interval, case: Case[Interval, GroundingOptions]) -> float:
    """IoU of the interval cut to the clip; 0 where an end is infinite, though clipping would mend it."""
    if not _is_finite(interval):
        return 0.0
    clipped = clip(interval, case.duration)
    if case.options.boundary_penalty:
        return penalised_iou(clipped, case.truth, case.duration)
    return interval_iou(clipped, case.truth)


def _is_finite(interval: Interval) -> bool:
    return math.isfinite(interval[0]) and math.isfinite(interval[1])


def _read_several(text: str, case: Case[Interval, GroundingOptions]) -> tuple[Interval, ...]:
    """A list of intervals, or one interval in any spelling, which may not be infinite either."""
    try:
        return read_intervals(text, case.options.max_intervals)
    except Unreadable:
        interval = read_interval(text)
        if not _is_finite(interval):
            raise
        return (interval,)


def _measure_several(intervals: Sequence[Interval], case: Case[Interval, GroundingOptions]) -> float:
    return union_iou([clip(interval, case.duration) for interval in intervals], [case.truth])


def _why_zero(intervals: Sequence[Interval], case: Case[Interval, GroundingOptions]) -> str:
    if case.options.boundary_penalty and case.duration is None:
        return "boundary_penalty needs the length of the clip, which is not known"
    return why_apart(intervals, [case.truth], case.duration)


_ONE = Part[Interval, GroundingOptions](
    block="answer",
    key="interval",
    component="iou",
    read=lambda text, case: read_interval(text),
    measure=_measure,
    zero=lambda interval, case: _why_zero([interval], case),
    reported=_is_finite,
)
_SEVERAL = Part[Interval, GroundingOptions](
    block="answer",
    key="intervals",
    component="iou",
    read=_read_several,
    measure=_measure_several,
    zero=lambda intervals, case: _why_zero(intervals, case),
)


def _answer(question: Question, options: GroundingOptions) -> str:
    if options.max_intervals == 1:
        return "its start and end in seconds as <answer>12.5 to 17.0</answer>."
    return (
        "its start and end in seconds, or those of its parts, as a list of "
        f"at most {options.max_intervals} such as <answer>[(12.5, 17.0)]</answer>."
    )


def _solution(truth: Interval, options: GroundingOptions) -> dict[str, str]:
    start, end = truth
    return {
        "answer": f"{start:.2f} to {end:.2f}" if options.max_intervals == 1 else format_intervals([truth])
    }


def _baseline(items: Items[Interval]) -> Constant:
    description, intervals = best_share_of_clip([([truth], duration) for truth, duration in items])
    return Constant(description, [{"answer": f"{start:.6f} to {end:.6f}"} for start, end in intervals])


def _trivial(items: Items[Interval]) -> Trivial:
    lengths = clip_lengths([([truth], duration) for truth, duration in items])
    return {"whole video": [[{"answer": f"0 to {length!r}"}] for length in lengths]}


def _paper(text: str, truth: Interval, template: Template) -> PaperScore:
    interval = paper.last_interval(text)
    rewards = {
        "format": float(paper.has_layout(text, layout(["answer"], template))),
        "iou": paper.hull_iou(interval, truth) if interval else 0.0,
    }
    return PaperScore(rewards, {"interval": interval})


SPEC = TaskSpec[Interval, GroundingOptions](
    name="temporal_grounding",
    title="Temporal grounding",
    main="iou",
    parts=lambda options: (_ONE,) if options.max_intervals == 1 else (_SEVERAL,),
    read_truth=_read_truth,
    problem=_problem,
    ask=lambda question: f"When does this happen in the video: {question.question}?",
    answer=_answer,
    solution=_solution,
    baseline=_baseline,
    metrics=(
        mean_of("mIoU", "iou", "mean IoU"),
        *(share_reaching(f"R@{t}", "iou", t, f"share of IoU >= {t}") for t in (0.3, 0.5, 0.7)),
    ),
    options=GroundingOptions,
    trivial=_trivial,
    paper=_paper,
)
