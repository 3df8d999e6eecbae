"""Captioning: what happens in the video? The answer is a description, rewarded by the events it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any, ClassVar, NamedTuple

from pydantic import Field

from rewards.constants import best_of, spread
from rewards.judge import LexicalJudge
from rewards.measures import harmonic_mean_of, mean_of
from rewards.plain import says_something
from rewards.spec import Case, Choices, Constant, Items, Part, Question, TaskOptions, TaskSpec
from rewards.targets import BadTarget, read_text_target
from rewards.texts import read_wording


class CaptionOptions(TaskOptions):
    """Options of captioning."""

    # A reward by it would pay for saying less; benchmarks want it beside the recall.
    evaluated: ClassVar[Mapping[str, Any]] = {"precision": True}

    precision: bool = Field(
        False,
        description="Add the component `precision`: the share of the description's events that the reference tells of.",
    )


class Caption(NamedTuple):
    """A reference description; its events where the annotation lists them, else they are the judge's to find."""

    text: str
    events: tuple[str, ...] | None


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Caption:
    events = target.get("events")
    if events is None:
        return Caption(read_text_target(target, "caption"), None)
    if not isinstance(events, (list, tuple)) or not events or not all(_is_event(e) for e in events):
        raise BadTarget("target.events must be a list of texts, none of them blank, or be left out")
    return Caption(read_text_target(target, "caption"), tuple(events))


def _is_event(event: object) -> bool:
    return isinstance(event, str) and says_something(event)


def _problem(question: Question) -> str | None:
    try:
        _read_truth(question.target, None)
    except BadTarget as error:
        return str(error)
    return None


def _recall(description: str, case: Case[Caption, CaptionOptions]) -> float:
    """Share of the reference's events that the description tells of; a reference that tells nothing gives 0."""
    events = case.truth.events or case.judge.events(case.truth.text)
    return fmean(case.judge.told(description, events)) if events else 0.0


def _precision(description: str, case: Case[Caption, CaptionOptions]) -> float:
    """Share of the description's events that the reference tells of; a description that tells nothing gives 0."""
    events = case.judge.events(description)
    return fmean(case.judge.told(case.truth.text, events)) if events else 0.0


_DESCRIPTION = Part[Caption, CaptionOptions](
    block="answer",
    key="caption",
    component="recall",
    read=lambda text, case: read_wording(text),
    measure=_recall,
    zero="none of the reference's events is told of",
)
_PRECISE = Part[Caption, CaptionOptions](
    block="answer",
    key="caption",
    component="precision",
    read=_DESCRIPTION.read,
    measure=_precision,
    zero="none of the description's events is the reference's",
)
_RECALL_METRIC = mean_of("recall", "recall", "mean share of the reference's events told of (AutoDQ recall)")
_PRECISION_METRIC = mean_of(
    "precision",
    "precision",
    "mean share of the description's events that the reference tells of (AutoDQ precision)",
)


def _baseline(items: Items[Caption]) -> Constant:
    """One of the references for all, fitted by the lexical judge."""
    judge, truths = LexicalJudge(), [truth for truth, _ in items]
    caption = best_of(
        spread(truth.text for truth in truths),
        truths,
        lambda text, truth: _recall(text, Case(truth, None, CaptionOptions(), judge)),
    )
    return Constant(f"always {caption!r:.60}", [{"answer": caption}] * len(items))


SPEC = TaskSpec[Caption, CaptionOptions](
    name="captioning",
    title="Captioning",
    main="recall",
    parts=lambda options: (_DESCRIPTION, _PRECISE) if options.precision else (_DESCRIPTION,),
    read_truth=_read_truth,
    problem=_problem,
    ask=lambda question: question.question,
    answer=lambda question, options: (
        "a description of everything that happens, in order and a sentence for each event, inside <answer> </answer>."
    ),
    solution=lambda truth, options: {"answer": truth.text},
    baseline=_baseline,
    metrics=(
        _RECALL_METRIC,
        _PRECISION_METRIC,
        harmonic_mean_of("F1", _PRECISION_METRIC, _RECALL_METRIC, "harmonic mean of both means (AutoDQ F1)"),
    ),
    options=CaptionOptions,
)
