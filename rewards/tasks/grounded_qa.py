"""Grounded question answering: which option is right, and where does the video show it? A letter and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from rewards import next_gqa, paper
from rewards.constants import best_share_of_clip, clip_lengths, every_letter, most_frequent
from rewards.intervals import (
    Interval,
    clip,
    format_intervals,
    read_intervals,
    union_iop,
    union_iou,
    why_apart,
)
from rewards.measures import mean_of, share_reaching
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
from rewards.targets import (
    BadTarget,
    count_options,
    interval_problem,
    letter_problem,
    option_texts,
    read_interval_target,
    read_letter_target,
)
from rewards.tasks.multiple_choice import LETTER, ask_with_options, paper_choice
from rewards.templates import Template


class GroundedOptions(TaskOptions):
    """Options of grounded question answering."""

    max_intervals: int = Field(3, ge=1, description="Most evidence intervals of an answer, intervals.")
    iop: bool = Field(
        False,
        description="Add the component `evidence_iop`: the share of the evidence that is annotated as such.",
    )


class GroundedChoice(NamedTuple):
    """The right option's letter, how many options there are, their texts, and the evidence intervals in seconds."""

    letter: str
    num_options: int | None
    options: tuple[str, ...]
    spans: tuple[Interval, ...]


_Case = Case[GroundedChoice, GroundedOptions]


def _read_truth(target: Mapping[str, Any], choices: Choices) -> GroundedChoice:
    num_options = count_options(choices)
    intervals = target.get("intervals")
    if not isinstance(intervals, (list, tuple)):
        raise BadTarget("target.intervals must be a list of [start, end] in seconds")
    spans = tuple(read_interval_target(interval, "target.intervals") for interval in intervals)
    return GroundedChoice(read_letter_target(target, num_options), num_options, option_texts(choices), spans)


def _problem(question: Question) -> str | None:
    problem = letter_problem(question.target.get("answer"), len(question.options))
    intervals = question.target.get("intervals")
    if problem:
        return problem
    if not isinstance(intervals, list) or not intervals:
        return "target.intervals must be a non-empty list of [start, end]"
    return next((p for p in (interval_problem(i, question.duration) for i in intervals) if p), None)


def _clipped(evidence: Sequence[Interval], case: _Case) -> list[Interval]:
    return [clip(interval, case.duration) for interval in evidence]


_EVIDENCE = Part[GroundedChoice, GroundedOptions](
    block="glue",
    key="intervals",
    component="evidence_iou",
    read=lambda text, case: read_intervals(text, case.options.max_intervals),
    measure=lambda evidence, case: union_iou(_clipped(evidence, case), case.truth.spans),
    zero=lambda evidence, case: f"evidence: {why_apart(evidence, case.truth.spans, case.duration)}",
)
_PRECISION = Part[GroundedChoice, GroundedOptions](
    block="glue",
    key="intervals",
    component="evidence_iop",
    read=_EVIDENCE.read,
    measure=lambda evidence, case: union_iop(_clipped(evidence, case), case.truth.spans),
    zero=_EVIDENCE.zero,
)


def _solution(truth: GroundedChoice, options: GroundedOptions) -> dict[str, str]:
    """The longest spans, where there are more than an answer may name."""
    longest = sorted(truth.spans, key=lambda span: span[0] - span[1])[: options.max_intervals]
    return {"answer": truth.letter, "glue": format_intervals(sorted(longest))}


def _baseline(items: Items[GroundedChoice]) -> Constant:
    letter = most_frequent(truth.letter for truth, _ in items)
    where, intervals = best_share_of_clip([(truth.spans, duration) for truth, duration in items])
    answers = [{"answer": letter, "glue": f"[({start:.6f}, {end:.6f})]"} for start, end in intervals]
    return Constant(f"always {letter}, {where}", answers)


def _trivial(items: Items[GroundedChoice]) -> Trivial:
    letters = every_letter([truth.num_options for truth, _ in items])
    lengths = clip_lengths([(truth.spans, duration) for truth, duration in items])
    answers = [
        [{"answer": letter, "glue": f"[(0, {length!r})]"} for letter in its]
        for its, length in zip(letters, lengths, strict=False)
    ]
    return {"chance, whole video": answers} if answers else {}


def _paper(text: str, truth: GroundedChoice, template: Template) -> PaperScore:
    choice = paper_choice(text, truth.letter, template)
    evidence = paper.evidence_intervals(paper.first_block(text, "glue"))
    iou = 0.0 if evidence is None else paper.evidence_iou(evidence, truth.spans)
    return PaperScore(
        {**choice.rewards, "evidence_iou": iou},
        {**choice.prediction, "intervals": evidence},
    )


SPEC = TaskSpec[GroundedChoice, GroundedOptions](
    name="grounded_qa",
    title="Grounded QA",
    main="accuracy",
    parts=lambda options: (LETTER, _EVIDENCE, _PRECISION) if options.iop else (LETTER, _EVIDENCE),
    read_truth=_read_truth,
    problem=_problem,
    ask=ask_with_options,
    answer=lambda question, options: (
        "the letter of the right option inside <answer> </answer>, and the times in seconds of the evidence as "
        "<glue>[(5.2, 10.4)]</glue>."
    ),
    solution=_solution,
    baseline=_baseline,
    metrics=(
        mean_of("accuracy", "accuracy", "share of right letters"),
        mean_of("mIoU", "evidence_iou", "mean IoU of the unions of intervals (VideoChat-R1)"),
        *(
            share_reaching(f"R@{t}", "evidence_iou", t, f"share of IoU of the unions >= {t}")
            for t in (0.3, 0.5, 0.7)
        ),
        *next_gqa.METRICS,
    ),
    options=GroundedOptions,
    trivial=_trivial,
    paper=_paper,
)
