"""What a model that never looks at the clip scores: the best constant answer to a set of targets.

A figure below its baseline shows no perception, so every table prints the two side by side. The constant is
fitted on the very targets it is scored on, which favours the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.result import Mode, Score
from rewards.scoring import Scorer, evaluation_options, read_target
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
    task: str, items: Sequence[tuple[Mapping[str, Any], float | None]], mode: Mode = "strict"
) -> Baseline:
    """Find the best constant answer of a task, by its main component; docs/tasks.md says which answers are tried.

    Args:
        items: Target and duration in seconds of each sample, at least one. An unknown duration is taken to be
            the longest one known or annotated in any item.
        mode: How the answer is scored; it is fitted by the strict definition.

    Raises:
        BadTarget: a target does not fit the task.
        ValueError: there are no items.
    """
    if not items:
        raise ValueError(f"no items to find the constant answer of {task} for")
    truths = [(read_target(task, target), duration) for target, duration in items]
    description, answers = SPECS[task].baseline(truths)
    scorer = Scorer(task, mode, "direct", evaluation_options(task, {}))
    scores = [
        scorer.score(written(answer), target, duration=duration)
        for answer, (target, duration) in zip(answers, items, strict=True)
    ]
    return Baseline(task, description, scores)


def written(answer: Mapping[str, str]) -> str:
    """A response that consists of these blocks."""
    return "\n".join(f"<{block}>{content}</{block}>" for block, content in answer.items())
