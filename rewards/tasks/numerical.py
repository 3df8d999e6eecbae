"""Numerical questions, to be answered exactly: the answer is a number (Video-R1, arXiv 2503.21776, section 3.1)."""

from __future__ import annotations

from rewards.constants import most_frequent
from rewards.measures import mean_of
from rewards.numbers import format_number, read_number
from rewards.spec import Constant, Items, Part, TaskOptions, TaskSpec
from rewards.targets import number_problem, read_number_target

DECIMALS = 2


def is_same(predicted: float, annotated: float) -> bool:
    """Whether two numbers agree to two decimals."""
    return round(predicted, DECIMALS) == round(annotated, DECIMALS)


_NUMBER = Part[float, TaskOptions](
    block="answer",
    key="number",
    component="accuracy",
    read=lambda text, case: read_number(text),
    measure=lambda number, case: float(is_same(number, case.truth)),
    zero=lambda number, case: f"{format_number(number)} is wrong, {format_number(case.truth)} is right",
)


def _baseline(items: Items[float]) -> Constant:
    number = most_frequent(repr(round(truth, DECIMALS)) for truth, _ in items)
    return Constant(f"always {number}", [{"answer": number}] * len(items))


SPEC = TaskSpec[float, TaskOptions](
    name="numerical",
    title="Numerical",
    main="accuracy",
    parts=lambda options: (_NUMBER,),
    read_truth=lambda target, choices: read_number_target(target),
    problem=lambda question: number_problem(question.target),
    ask=lambda question: question.question,
    answer=lambda question, options: "the number alone, in figures, inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": format_number(truth)},
    baseline=_baseline,
    metrics=(mean_of("accuracy", "accuracy", "share of numbers right to two decimals"),),
    options=TaskOptions,
)
