"""Quality assessment: how good does the video look? The answer is one of a few labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rewards import paper
from rewards.constants import most_frequent
from rewards.measures import mean_of
from rewards.plain import plain, without_marks
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
from rewards.targets import BadTarget, read_text_target, text_problem
from rewards.templates import Template, layout
from rewards.texts import read_text


class Label(NamedTuple):
    """The right label, and those allowed where that is known; all in lower case, stripped."""

    text: str
    allowed: tuple[str, ...]


def _plain(label: str) -> str:
    return label.strip().lower()


def _read_truth(target: Mapping[str, Any], choices: Choices) -> Label:
    allowed = tuple(map(_plain, choices)) if isinstance(choices, (list, tuple)) else ()
    label = _plain(read_text_target(target, "label"))
    if allowed and label not in allowed:
        raise BadTarget(f"target.label {label!r:.60} is not one of {', '.join(allowed):.60}")
    return Label(label, allowed)


def _problem(question: Question) -> str | None:
    problem = text_problem(question.target, "label")
    if problem or not question.options:
        return problem or "options must name the labels to choose from"
    labels = tuple(map(_plain, question.options))
    return None if _plain(question.target["label"]) in labels else "target.label must be one of the options"


def _read(text: str, case: Case[Label, TaskOptions]) -> str:
    allowed, label = case.truth.allowed, _plain(read_text(text))
    if not allowed or label in allowed:
        return label
    label = _plain(without_marks(plain(text)))
    if label not in allowed:
        raise Unreadable("the answer is none of the labels")
    return label


_LABEL = Part[Label, TaskOptions](
    block="answer",
    key="label",
    component="accuracy",
    read=_read,
    measure=lambda label, case: float(label == case.truth.text),
    zero=lambda label, case: f"{label:.40} is wrong, {case.truth.text} is right",
)


def _baseline(items: Items[Label]) -> Constant:
    label = most_frequent(truth.text for truth, _ in items)
    return Constant(f"always {label}", [{"answer": label}] * len(items))


def _trivial(items: Items[Label]) -> Trivial:
    labels = [truth.allowed for truth, _ in items]
    return {"chance": [[{"answer": label} for label in its] for its in labels]} if all(labels) else {}


def _paper(text: str, truth: Label, template: Template) -> PaperScore:
    """By the released function, which wants a `<think>` block even where the prompt asks for none."""
    label = _plain(paper.first_block(text, "answer") or "")
    is_formed = paper.has_layout(text, layout(["answer"], "thinking"))
    return PaperScore(
        {"format": float(is_formed), "accuracy": float(label == truth.text)}, {"label": label or None}
    )


SPEC = TaskSpec[Label, TaskOptions](
    name="quality",
    title="Quality assessment",
    main="accuracy",
    parts=lambda options: (_LABEL,),
    read_truth=_read_truth,
    problem=_problem,
    ask=lambda question: f"{question.question}\nChoose one of: {', '.join(question.options)}.",
    answer=lambda question, options: "the label that fits inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": truth.text},
    baseline=_baseline,
    metrics=(mean_of("accuracy", "accuracy", "share of right labels"),),
    options=TaskOptions,
    trivial=_trivial,
    paper=_paper,
)
