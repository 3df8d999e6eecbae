"""What is told of the usable prompts of a dataset by task: counts, durations, coverage, balance, blind answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from data.schema import Task, VideoPrompt
from rewards import constant_baseline, trivial_baselines
from rewards.intervals import clip, merge
from rewards.measures import Scored


@dataclass(frozen=True)
class Spread:
    """Least, mean and greatest of some numbers."""

    least: float
    mean: float
    greatest: float


@dataclass(frozen=True)
class TaskFacts:
    """The prompts of one task.

    Attributes:
        prompts: How many there are.
        videos: How many different videos they are about.
        durations: Listed lengths of those videos, or of the spans of them, seconds; None where none is listed.
        coverage: Mean share of a clip that its intervals cover, 0-1; None for tasks without times.
        labels: How often each letter or label is the right one.
        constant: The best constant answer in words.
        constant_score: Its mean in the main component of the task, 0-1.
        trivial: Every metric of answers that are fitted to nothing, by name: the whole video, chance; 0-1.
    """

    prompts: int
    videos: int
    durations: Spread | None
    coverage: float | None
    labels: Mapping[str, int]
    constant: str
    constant_score: float
    trivial: Mapping[str, Mapping[str, float]]


def facts_by_task(prompts: Sequence[VideoPrompt]) -> dict[str, TaskFacts]:
    """The facts of every task that has prompts, in the order of `Task`."""
    by_task = {task: [prompt for prompt in prompts if prompt.task is task] for task in Task}
    return {str(task): _facts(task, own) for task, own in by_task.items() if own}


def spread(numbers: Iterable[float | None]) -> Spread | None:
    """The spread of the numbers that are known, if any is."""
    known = [number for number in numbers if number is not None]
    return Spread(min(known), fmean(known), max(known)) if known else None


def _facts(task: Task, prompts: Sequence[VideoPrompt]) -> TaskFacts:
    clips = {(prompt.video, prompt.span): prompt.duration for prompt in prompts}
    baseline = constant_baseline(task, [(prompt.target, prompt.duration) for prompt in prompts])
    scored = [Scored(prompt.target, prompt.duration, prompt.options) for prompt in prompts]
    shares = [share for share in map(_covered, prompts) if share is not None]
    return TaskFacts(
        prompts=len(prompts),
        videos=len({prompt.video for prompt in prompts}),
        durations=spread(clips.values()),
        coverage=fmean(shares) if shares else None,
        labels=dict(sorted(Counter(_labels(prompts)).items())),
        constant=baseline.description,
        constant_score=baseline.mean,
        trivial=trivial_baselines(task, scored),
    )


def _covered(prompt: VideoPrompt) -> float | None:
    """Share of the clip that the intervals of a target cover."""
    target, duration = prompt.target, prompt.duration
    intervals = target.get("intervals", [target["interval"]] if "interval" in target else [])
    if not intervals or duration is None:
        return None
    return sum(end - start for start, end in merge(clip(i, duration) for i in intervals)) / duration


def _labels(prompts: Iterable[VideoPrompt]) -> Iterable[str]:
    found = (prompt.target.get("answer", prompt.target.get("label")) for prompt in prompts)
    return (label for label in found if isinstance(label, str))
