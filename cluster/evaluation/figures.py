"""What the samples of a benchmark come to: the task's metrics with intervals, beside the constant answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from cluster.records.bootstrap import Fractions, Interval, Rounded, bootstrap_figures, interval
from cluster.records.eval_records import EvalSample
from cluster.records.failures import Failure, failures
from rewards import SPECS, Mode, Score, constant_baseline
from rewards.measures import Metric, Scored, harmonic_mean

PERCENT = 100.0


class Figure(BaseModel):
    """One metric; in percent where it is a share.

    Attributes:
        meaning: What it measures, by whose definition.
        constant: Of the constant answer.
        above: What it is above the constant answer on the same samples, the interval from paired differences.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    meaning: str
    value: Interval
    constant: Rounded
    above: Interval


class TaskFigures(BaseModel):
    """The samples of one task of one dataset.

    Attributes:
        samples: How many there are: the denominator of every figure.
        well_formed: How many responses have the layout that was asked for.
        failures: What could not be answered or read; each counts 0 above.
        constant_answer: The best constant answer in words.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    task: str
    samples: int
    well_formed: int
    failures: list[Failure]
    constant_answer: str
    figures: list[Figure]

    def failed(self, kind: str) -> int:
        """How many samples failed in one of the ways of `Failure.kind`."""
        return sum(failure.count for failure in self.failures if failure.kind == kind)


@dataclass(frozen=True)
class Constant:
    """A constant answer to the prompts of some samples: in words, and scored."""

    answer: str
    scored: Sequence[Scored]


def task_figures(
    dataset: str, task: str, samples: Sequence[EvalSample], mode: Mode, options: Mapping[str, Any]
) -> TaskFigures:
    """Every metric of a task over its samples, those that failed included.

    Args:
        mode: How the samples were scored; the constant answer is scored alike.
        options: Those of the task that its answers were read by.

    Raises:
        ValueError: there are no samples.
    """
    constant = constant_answer(task, samples, mode)
    metrics = SPECS[task].metrics
    own, base = resampled(metrics, [scored_samples(samples), constant.scored])
    return TaskFigures(
        dataset=dataset,
        task=task,
        samples=len(samples),
        well_formed=sum(sample.score is not None and sample.score.parsed for sample in samples),
        failures=failures(task, samples, options),
        constant_answer=constant.answer,
        figures=[_figure(metric, *rows) for metric, *rows in zip(metrics, own, base, strict=True)],
    )


def constant_answer(task: str, samples: Sequence[EvalSample], mode: Mode) -> Constant:
    """The best constant answer to the prompts of these samples."""
    baseline = constant_baseline(task, [(s.prompt.target, s.prompt.duration) for s in samples], mode)
    scored = [_scored_as(sample, score) for sample, score in zip(samples, baseline.scores, strict=True)]
    return Constant(baseline.description, scored)


def resampled(metrics: Sequence[Metric], answers: Sequence[Sequence[Scored]]) -> np.ndarray:
    """Metrics of several answers to the same prompts, as they are and on resampled prompts, the same ones for all.

    Returns:
        float64 `[answers, metrics, 1 + resamples]`, in percent where the metric is a share.
    """
    columns = [fractions(metric, scored) for scored in answers for metric in metrics]
    values = bootstrap_figures(columns).reshape(len(answers), len(metrics), -1)
    for row, metric in enumerate(metrics):
        if metric.of:
            first, second = (values[:, metrics.index(one)] for one in metric.of)
            values[:, row] = np.vectorize(harmonic_mean)(first, second)
    return values


def fractions(metric: Metric, samples: Sequence[Scored]) -> Fractions:
    """Numerator, weight and group of each sample, in percent where the metric is a share."""
    pairs = np.array([metric.value(sample) for sample in samples], dtype=np.float64)
    names: dict[str, int] = {}
    groups = [names.setdefault(metric.group(one) if metric.group else "", len(names)) for one in samples]
    scale = PERCENT if metric.percent else 1.0
    return Fractions(scale * pairs[:, 0], pairs[:, 1], np.array(groups))


def scored_samples(samples: Sequence[EvalSample]) -> list[Scored]:
    """Samples as metrics take them."""
    return [_scored_as(sample, sample.score) for sample in samples]


def _figure(metric: Metric, own: np.ndarray, constant: np.ndarray) -> Figure:
    """From a metric's values on the samples themselves, then on resampled ones."""
    above = own - constant
    return Figure(
        name=metric.name,
        meaning=metric.meaning,
        value=interval(own[0], own[1:]),
        constant=float(constant[0]),
        above=interval(above[0], above[1:]),
    )


def _scored_as(sample: EvalSample, score: Score | None) -> Scored:
    prompt = sample.prompt
    return Scored(prompt.target, prompt.duration, prompt.options, score)
