"""Captioning: what happens in the video? The answer is a description, rewarded by the events it tells of."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

from rewards.constants import best_of, spread
from rewards.judge import LexicalJudge
from rewards.measures import mean_of
from rewards.spec import Case, Choices, Constant, Items, Part, Question, TaskOptions, TaskSpec
from rewards.targets import BadTarget, read_text_target
from rewards.texts import read_text


class Caption(NamedTuple):
    """A reference description; its events where the annotation lists them, else they are the judge's to find."""

    text: str
    events: tuple[str, ...] | None


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Caption:
    events = target.get("events")
    if events is None:
        return Caption(read_text_target(target, "caption"), None)
    if not isinstance(events, (list, tuple)) or not events or not all(_says_something(e) for e in events):
        raise BadTarget("target.events must be a list of texts, none of them blank, or be left out")
    return Caption(read_text_target(target, "caption"), tuple(events))


def _says_something(event: object) -> bool:
    return isinstance(event, str) and bool(event.strip())


def _problem(question: Question) -> str | None:
    try:
        _read_truth(question.target, None)
    except BadTarget as error:
        return str(error)
    return None


def _recall(description: str, case: Case[Caption, TaskOptions]) -> float:
    """Share of the reference's events that the description tells of; a reference that tells nothing gives 0."""
    events = case.truth.events or case.judge.events(case.truth.text)
    return fmean(case.judge.told(description, events)) if events else 0.0


_DESCRIPTION = Part[Caption, TaskOptions](
    block="answer",
    key="caption",
    component="recall",
    read=lambda text, case: read_text(text),
    measure=_recall,
    zero="none of the reference's events is told of",
)


def _baseline(items: Items[Caption]) -> Constant:
    """One of the references for all, fitted by the lexical judge."""
    judge, truths = LexicalJudge(), [truth for truth, _ in items]
    caption = best_of(
        spread(truth.text for truth in truths),
        truths,
        lambda text, truth: _recall(text, Case(truth, None, TaskOptions(), judge)),
    )
    return Constant(f"always {caption!r:.60}", [{"answer": caption}] * len(items))


SPEC = TaskSpec[Caption, TaskOptions](
    name="captioning",
    title="Captioning",
    main="recall",
    parts=lambda options: (_DESCRIPTION,),
    read_truth=_read_truth,
    problem=_problem,
    ask=lambda question: question.question,
    answer=lambda question, options: (
        "a description of everything that happens, in order and a sentence for each event, inside <answer> </answer>."
    ),
    solution=lambda truth, options: {"answer": truth.text},
    baseline=_baseline,
    metrics=(mean_of("recall", "recall", "mean share of the reference's events told of (AutoDQ recall)"),),
    options=TaskOptions,
)
