"""Quantities to be estimated: the answer is a number, and near is good (Video-R1, arXiv 2503.21776, section 3.1)."""

from __future__ import annotations

from rewards.constants import best_of, spread
from rewards.measures import Metric, Scored, mean_of
from rewards.numbers import format_number, read_number
from rewards.spec import Constant, Items, Part, TaskOptions, TaskSpec
from rewards.targets import number_problem, read_number_target

# Mean relative accuracy asks for a relative error below 1 minus each of these.
CONFIDENCES = tuple(0.5 + 0.05 * step for step in range(10))


def relative_error(predicted: float, annotated: float) -> float:
    """Distance in units of the annotated number; of an annotated 0, 0 for 0 and else infinite."""
    distance = abs(predicted - annotated)
    return distance / abs(annotated) if annotated and distance else distance and float("inf")


def relative_accuracy(predicted: float, annotated: float) -> float:
    """1 minus the relative error, at least 0."""
    return max(0.0, 1.0 - relative_error(predicted, annotated))


def _mean_relative_accuracy(sample: Scored) -> tuple[float, float]:
    number = sample.predicted("number")
    if number is None:
        return 0.0, 1.0
    error = relative_error(number, sample.target["number"])
    return sum(error < 1 - confidence for confidence in CONFIDENCES) / len(CONFIDENCES), 1.0


_NUMBER = Part[float, TaskOptions](
    block="answer",
    key="number",
    component="relative_accuracy",
    read=lambda text, case: read_number(text),
    measure=lambda number, case: relative_accuracy(number, case.truth),
    zero=lambda number, case: (
        f"{format_number(number)} is off by as much as the annotated {format_number(case.truth)}, or more"
    ),
)


def _baseline(items: Items[float]) -> Constant:
    numbers = [truth for truth, _ in items]
    number = best_of(spread(numbers), numbers, relative_accuracy)
    return Constant(f"always {number!r}", [{"answer": repr(number)}] * len(items))


SPEC = TaskSpec[float, TaskOptions](
    name="regression",
    title="Regression",
    main="relative_accuracy",
    parts=lambda options: (_NUMBER,),
    read_truth=lambda target, choices: read_number_target(target),
    problem=lambda question: number_problem(question.target),
    ask=lambda question: question.question,
    answer=lambda question, options: "your estimate as one number, in figures, inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": format_number(truth)},
    baseline=_baseline,
    metrics=(
        mean_of(
            "relative accuracy", "relative_accuracy", "mean of 1 - relative error, at least 0 (Video-R1)"
        ),
        Metric("MRA", _mean_relative_accuracy, "mean relative accuracy at 0.5, 0.55, ... 0.95 (VSI-Bench)"),
    ),
    options=TaskOptions,
)
