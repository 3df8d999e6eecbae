"""The figures of a benchmark, from its scored samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import fsum
from statistics import fmean

from rewards.measures import Fraction, Metric, Scored, harmonic_mean
from rewards.tasks import SPECS


def evaluate_task(task: str, samples: Sequence[Scored]) -> dict[str, float]:
    """Every metric of a task by name, shares in 0-1.

    Raises:
        ValueError: there are no samples.
    """
    return {metric.name: aggregate(metric, samples) for metric in SPECS[task].metrics}


def aggregate(metric: Metric, samples: Sequence[Scored]) -> float:
    """Mean over groups of the sum of numerators by the sum of weights; their order changes nothing.

    A group in which nothing weighs anything, a class whose object never shows for instance, is left out; if that leaves
    none, the figure is 0.

    Raises:
        ValueError: there are no samples.
    """
    return expect(metric, [[sample] for sample in samples])


def expect(metric: Metric, answers: Sequence[Sequence[Scored]]) -> float:
    """As `aggregate`, of samples with several answers each that are equally likely: numerators are their means.

    Raises:
        ValueError: there are no samples.
    """
    if not answers:
        raise ValueError(f"no samples to take {metric.name} of")
    if metric.of:
        return harmonic_mean(*(expect(one, answers) for one in metric.of))
    groups: dict[str, list[Fraction]] = defaultdict(list)
    for likely in answers:
        parts = [metric.value(sample) for sample in likely]
        mean = fmean(part for part, _ in parts), parts[0][1]
        groups[metric.group(likely[0]) if metric.group else ""].append(mean)
    sums = [
        (fsum(part for part, _ in parts), fsum(weight for _, weight in parts)) for parts in groups.values()
    ]
    means = sorted(part / weight for part, weight in sums if weight)
    return fmean(means) if means else 0.0
