"""What a task is measured by: figures over the scored samples of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rewards.result import Score

Fraction = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scored:
    """One sample of a benchmark with what it scored.

    Attributes:
        target: The annotation, as the data has it.
        duration: Length of the clip in seconds, where known.
        options: Answer texts of a choice question, in letter order.
        score: Without options that only shape rewards; None where the sample could not be answered at all.
    """

    target: Mapping[str, Any]
    duration: float | None = None
    options: tuple[str, ...] = ()
    score: Score | None = None

    def reward(self, component: str) -> float:
        """A component in 0-1; 0 without a score."""
        return self.score.rewards.get(component, 0.0) if self.score else 0.0

    def predicted(self, key: str) -> Any:
        """What was read from the response under a key of the target, or None."""
        return self.score.prediction.get(key) if self.score and self.score.prediction else None


@dataclass(frozen=True)
class Metric:
    """One figure: the mean over groups of the sum of numerators by the sum of weights.

    Attributes:
        value: Numerator and weight of a sample. Denominators are full: a sample that was not answered, or not
            readably, has numerator 0 and the weight it would have had.
        group: Name of the group a sample belongs to; without it all samples are one.
        percent: Whether the figure is a share, shown times 100.
        meaning: What it measures, by whose definition.
        of: Two metrics whose figures this is the harmonic mean of, whatever samples they are taken of; None for a
            metric of its own. The mean of the samples' own harmonic means is another figure.
    """

    name: str
    value: Callable[[Scored], Fraction]
    meaning: str
    group: Callable[[Scored], str] | None = None
    percent: bool = True
    of: tuple[Metric, Metric] | None = None


def harmonic_mean(first: float, second: float) -> float:
    """Of two numbers from 0; 0 where both are."""
    return 2 * first * second / (first + second) if first + second else 0.0


def harmonic_mean_of(name: str, first: Metric, second: Metric, meaning: str) -> Metric:
    """Harmonic mean of the figures of two metrics, as precision and recall are summed up."""

    def of_one(sample: Scored) -> Fraction:
        return harmonic_mean(first.value(sample)[0], second.value(sample)[0]), 1.0

    return Metric(name, of_one, meaning, of=(first, second))


def mean_of(name: str, component: str, meaning: str) -> Metric:
    """Mean of a reward component over the samples."""
    return Metric(name, lambda sample: (sample.reward(component), 1.0), meaning)


def share_reaching(name: str, component: str, threshold: float, meaning: str) -> Metric:
    """Share of the samples whose component is at least the threshold."""
    return Metric(name, lambda sample: (float(sample.reward(component) >= threshold), 1.0), meaning)
