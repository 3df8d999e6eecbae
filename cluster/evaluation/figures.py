"""What the samples of a benchmark come to: the task's metrics with intervals, beside the constant answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from actors.caption_judge import EndpointJudge
from cluster.evaluation.judging import judged_constant
from cluster.records.bootstrap import Fractions, Interval, Rounded, bootstrap_figures, interval
from cluster.records.eval_records import EvalSample
from cluster.records.failures import Failure, failures
from cluster.records.metrics import Text
from rewards import SPECS, Mode, Score, trivial_baselines
from rewards.measures import Metric, Scored, harmonic_mean

PERCENT = 100.0


class Figure(BaseModel):
    """One metric; in percent where it is a share.

    Attributes:
        meaning: What it measures, by whose definition.
        constant: Of the constant answer.
        above: What it is above the constant answer on the same samples, the interval from paired differences.
        trivial: Of answers that are fitted to nothing, by name: the whole video, chance.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    meaning: str
    value: Interval
    constant: Rounded
    above: Interval
    trivial: dict[str, Rounded] = {}


class PartFigures(BaseModel):
    """The main metric of the samples of one part of a dataset: a task of MVBench, a length of Video-MME.

    Attributes:
        figure: Beside the constant answer to the whole dataset.
    """

    model_config = ConfigDict(frozen=True)

    part: str
    samples: int
    figure: Figure


class TaskFigures(BaseModel):
    """The samples of one task of one dataset.

    Attributes:
        samples: How many there are: the denominator of every figure.
        well_formed: How many responses have the layout that was asked for.
        failures: What could not be answered or read; each counts 0 above.
        constant_answer: The best constant answer in words.
        parts: Where the dataset has parts.
        unusable: Annotations that nothing can be scored against, in no denominator; 0 too where it is not known how
            many of them are of this task, or of the samples that a cap or a filter left.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    task: str
    samples: int
    well_formed: int
    failures: list[Failure]
    constant_answer: Text
    figures: list[Figure]
    parts: list[PartFigures] = []
    unusable: int = 0

    def failed(self, kind: str) -> int:
        """How many samples failed in one of the ways of `Failure.kind`."""
        return sum(failure.count for failure in self.failures if failure.kind == kind)


@dataclass(frozen=True)
class Constant:
    """A constant answer to the prompts of some samples: in words, and scored."""

    answer: str
    scored: Sequence[Scored]


def task_figures(
    dataset: str,
    task: str,
    samples: Sequence[EvalSample],
    mode: Mode,
    options: Mapping[str, Any],
    judge: EndpointJudge | None = None,
    unusable: int = 0,
) -> TaskFigures:
    """Every metric of a task over its samples, those that failed included.

    Args:
        mode: How the samples were scored; the constant answer is scored alike.
        options: Those of the task that its answers were read by.
        judge: Who judged captions; None for the lexical judge.
        unusable: Annotations beside the samples that cannot be used.

    Raises:
        ValueError: there are no samples.
        EndpointError: the judge cannot be used, and nothing is to take its place.
    """
    constant = constant_answer(task, samples, mode, judge)
    return TaskFigures(
        dataset=dataset,
        task=task,
        samples=len(samples),
        well_formed=sum(sample.score is not None and sample.score.parsed for sample in samples),
        failures=failures(task, samples, options),
        constant_answer=constant.answer,
        figures=metric_figures(task, SPECS[task].metrics, samples, constant.scored, mode),
        parts=list(_parts(task, samples, constant.scored, mode)),
        unusable=unusable,
    )


def metric_figures(
    task: str,
    metrics: Sequence[Metric],
    samples: Sequence[EvalSample],
    constant: Sequence[Scored],
    mode: Mode,
) -> list[Figure]:
    """Metrics of a task over samples, beside a constant answer to each of them."""
    videos = [sample.prompt.video for sample in samples]
    own, base = resampled(metrics, [scored_samples(samples), constant], videos)
    trivial = trivial_figures(task, samples, mode)
    return [
        _figure(metric, values, blind, trivial[metric.name])
        for metric, values, blind in zip(metrics, own, base, strict=True)
    ]


def _parts(
    task: str, samples: Sequence[EvalSample], constant: Sequence[Scored], mode: Mode
) -> Iterator[PartFigures]:
    """The parts of a dataset in the order in which they come first; none of one that has no two."""
    names = list(dict.fromkeys(map(part_of, samples)))
    for name in names if len(names) > 1 else ():
        places = [place for place, sample in enumerate(samples) if part_of(sample) == name]
        own, base = [samples[place] for place in places], [constant[place] for place in places]
        (figure,) = metric_figures(task, SPECS[task].metrics[:1], own, base, mode)
        yield PartFigures(part=name, samples=len(own), figure=figure)


def part_of(sample: EvalSample) -> str:
    """Name of the part of its dataset that a sample belongs to."""
    return sample.prompt.part or "the rest"


def constant_answer(
    task: str, samples: Sequence[EvalSample], mode: Mode, judge: EndpointJudge | None
) -> Constant:
    """The best constant answer to the prompts of these samples."""
    baseline = judged_constant(task, [(s.prompt.target, s.prompt.duration) for s in samples], mode, judge)
    scored = [_scored_as(sample, score) for sample, score in zip(samples, baseline.scores, strict=True)]
    return Constant(baseline.description, scored)


def resampled(
    metrics: Sequence[Metric], answers: Sequence[Sequence[Scored]], videos: Sequence[str]
) -> np.ndarray:
    """Metrics of several answers to the same prompts, as they are and on resampled videos, the same ones for all.

    Args:
        videos: Of each prompt.

    Returns:
        float64 `[answers, metrics, 1 + resamples]`, in percent where the metric is a share.
    """
    columns = [fractions(metric, scored) for scored in answers for metric in metrics]
    values = bootstrap_figures(columns, videos=videos).reshape(len(answers), len(metrics), -1)
    for row, metric in enumerate(metrics):
        if metric.of:
            first, second = (values[:, metrics.index(one)] for one in metric.of)
            values[:, row] = np.vectorize(harmonic_mean)(first, second)
    return values


def trivial_figures(task: str, samples: Sequence[EvalSample], mode: Mode) -> dict[str, dict[str, float]]:
    """Of every metric what trivial answers to the prompts of these samples come to, in percent where it is a share."""
    found = trivial_baselines(task, scored_samples(samples), mode)
    return {
        metric.name: {name: _scale(metric) * values[metric.name] for name, values in found.items()}
        for metric in SPECS[task].metrics
    }


def fractions(metric: Metric, samples: Sequence[Scored]) -> Fractions:
    """Numerator, weight and group of each sample, in percent where the metric is a share."""
    pairs = np.array([metric.value(sample) for sample in samples], dtype=np.float64)
    names: dict[str, int] = {}
    groups = [names.setdefault(metric.group(one) if metric.group else "", len(names)) for one in samples]
    return Fractions(_scale(metric) * pairs[:, 0], pairs[:, 1], np.array(groups))


def scored_samples(samples: Sequence[EvalSample]) -> list[Scored]:
    """Samples as metrics take them."""
    return [_scored_as(sample, sample.score) for sample in samples]


def _scale(metric: Metric) -> float:
    return PERCENT if metric.percent else 1.0


def _figure(metric: Metric, own: np.ndarray, constant: np.ndarray, trivial: dict[str, float]) -> Figure:
    """From a metric's values on the samples themselves, then on resampled ones."""
    above = own - constant
    return Figure(
        name=metric.name,
        meaning=metric.meaning,
        value=interval(own[0], own[1:]),
        constant=float(constant[0]),
        above=interval(above[0], above[1:]),
        trivial=trivial,
    )


def _scored_as(sample: EvalSample, score: Score | None) -> Scored:
    prompt = sample.prompt
    return Scored(prompt.target, prompt.duration, prompt.options, score)
