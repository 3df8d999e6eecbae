"""What a model that never looks at the clip scores: the best constant answer to a set of targets, and trivial ones.

A figure below its baseline shows no perception, so every table prints them side by side. The constant is
fitted on the very targets it is scored on, which favours the baseline; a trivial answer, the whole video or any option,
is fitted to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rewards.judge import Judge
from rewards.measures import Scored
from rewards.metrics import expect
from rewards.result import Mode, Score
from rewards.scoring import Scorer, evaluation_options, read_target, score_response
from rewards.tasks import COMPONENTS, MAIN_COMPONENT, SPECS


@dataclass(frozen=True)
class Baseline:
    """The best constant answer to a set of items.

    Attributes:
        task: The task of the items.
        description: The answer in words, such as `0% to 45% of the clip`.
        scores: Of every item, in the order of the items, the answer written out and scored like any response.
    """

    task: str
    description: str
    scores: list[Score]

    @property
    def components(self) -> Mapping[str, list[float]]:
        """For each component but the format, the value of every item."""
        return {name: [score.rewards[name] for score in self.scores] for name in COMPONENTS[self.task][1:]}

    @property
    def per_item(self) -> list[float]:
        """Every item's value in the main component of the task (`MAIN_COMPONENT`)."""
        return [score.rewards[MAIN_COMPONENT[self.task]] for score in self.scores]

    @property
    def mean(self) -> float:
        """Mean of `per_item`."""
        return sum(self.per_item) / len(self.per_item)


def constant_baseline(
    task: str,
    items: Sequence[tuple[Mapping[str, Any], float | None]],
    mode: Mode = "strict",
    judge: Judge | None = None,
) -> Baseline:
    """Find the best constant answer of a task, by its main component; docs/tasks.md says which answers are tried.

    Args:
        items: Target and duration in seconds of each sample, at least one. An unknown duration is taken to be
            the longest one known or annotated in any item.
        mode: How the answer is scored; it is fitted by the strict definition.
        judge: Whose verdict a caption is scored by; it is fitted by the lexical one's.

    Raises:
        BadTarget: a target does not fit the task.
        ValueError: there are no items.
    """
    if not items:
        raise ValueError(f"no items to find the constant answer of {task} for")
    truths = [(read_target(task, target), duration) for target, duration in items]
    description, answers = SPECS[task].baseline(truths)
    scorer = Scorer(task, mode, "direct", evaluation_options(task, {}), judge=judge)
    scores = [
        scorer.score(written(answer), target, duration=duration)
        for answer, (target, duration) in zip(answers, items, strict=True)
    ]
    return Baseline(task, description, scores)


def trivial_baselines(
    task: str, samples: Sequence[Scored], mode: Mode = "strict"
) -> dict[str, dict[str, float]]:
    """Every metric of the trivial answers of a task, by name of the answer and of the metric, shares in 0-1.

    Where several answers are equally likely, the letters of a question, the mean over all counts: nothing is drawn.

    Args:
        samples: At least one; their scores are not looked at. An unknown duration is taken as in `constant_baseline`,
            and there is no chance among options that are not known.

    Raises:
        BadTarget: a target does not fit the task.
    """
    truths = [(read_target(task, one.target, one.options or None), one.duration) for one in samples]
    found: dict[str, dict[str, float]] = {}
    for name, answers in SPECS[task].trivial(truths).items():
        scored = [
            [_answering(task, one, answer, mode) for answer in likely]
            for one, likely in zip(samples, answers, strict=True)
        ]
        found[name] = {metric.name: expect(metric, scored) for metric in SPECS[task].metrics}
    return found


def _answering(task: str, sample: Scored, answer: Mapping[str, str], mode: Mode) -> Scored:
    score = score_response(
        task,
        written(answer),
        sample.target,
        duration=sample.duration,
        mode=mode,
        template="direct",
        options=sample.options,
    )
    return replace(sample, score=score)


def written(answer: Mapping[str, str]) -> str:
    """A response that consists of these blocks."""
    return "\n".join(f"<{block}>{content}</{block}>" for block, content in answer.items())
