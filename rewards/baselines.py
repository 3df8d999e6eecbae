"""What a model that never looks at the clip scores: the best constant answer to a set of targets.

A figure below its baseline shows no perception, so every table prints the two side by side. The constant is
fitted on the very targets it is scored on, which favours the baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rewards import boxes, paper
from rewards.intervals import length_iou, merge
from rewards.targets import Truth, read_target
from rewards.tasks import MAIN_COMPONENT, Mode

# The ends of a constant interval are multiples of 1/20 of the clip.
_GRID = [step / 20 for step in range(21)]

_Items = Sequence[tuple[Truth, float | None]]


@dataclass(frozen=True)
class Baseline:
    """The best constant answer to a set of items.

    Attributes:
        task: The task of the items.
        description: The answer in words, such as `0% to 45% of the clip`.
        components: For each component but the format, the value of every item, in the order of the items.
    """

    task: str
    description: str
    components: Mapping[str, list[float]]

    @property
    def per_item(self) -> list[float]:
        """Every item's value in the main component of the task (`MAIN_COMPONENT`)."""
        return self.components[MAIN_COMPONENT[self.task]]

    @property
    def mean(self) -> float:
        """Mean of `per_item`."""
        return sum(self.per_item) / len(self.per_item)


def constant_baseline(
    task: str, items: Sequence[tuple[Mapping[str, Any], float | None]], mode: Mode = "strict"
) -> Baseline:
    """Find the best constant answer of a task.

    Temporal grounding: an interval given in fractions of the clip, by mean IoU over a grid. Tracking: the
    given first box repeated. Multiple choice: the most frequent letter. Grounded QA: the most frequent
    letter, with the evidence interval of the best mean union IoU.

    Args:
        items: Target and duration in seconds of each sample, at least one. An unknown duration is taken to be
            the longest one known or annotated in any item.
        mode: Paper mode counts the first box of tracking too; the other baselines do not depend on it.

    Raises:
        BadTarget: a target does not fit the task.
        ValueError: there are no items.
    """
    if not items:
        raise ValueError(f"no items to find the constant answer of {task} for")
    checked = [(read_target(task, target), duration) for target, duration in items]
    fitted = {component: fit(checked, mode) for component, fit in _FITS[task].items()}
    return Baseline(
        task=task,
        description=", ".join(description for description, _ in fitted.values()),
        components={component: values for component, (_, values) in fitted.items()},
    )


def repeated_box_iou(truth: Truth, mode: Mode = "strict") -> float:
    """Tracking IoU of the first annotated box given as every box."""
    repeated = [truth.boxes[0]] * len(truth.boxes)
    return (paper.mean_iou if mode == "paper" else boxes.tracking_iou)(repeated, truth.boxes)


def _repeated_box(items: _Items, mode: Mode) -> tuple[str, list[float]]:
    return "first box repeated", [repeated_box_iou(truth, mode) for truth, _ in items]


def _interval(items: _Items, mode: Mode) -> tuple[str, list[float]]:
    ends = [end for truth, _ in items for _, end in truth.spans if end > 0]
    longest = max([*ends, *(duration for _, duration in items if duration)], default=1.0)
    annotated = [
        merge((start / (duration or longest), end / (duration or longest)) for start, end in truth.spans)
        for truth, duration in items
    ]
    scored = ((span, [length_iou([span], spans) for spans in annotated]) for span in combinations(_GRID, 2))
    (start, end), values = max(scored, key=lambda candidate: sum(candidate[1]))
    return f"{start:.0%} to {end:.0%} of the clip", values


def _letter(items: _Items, mode: Mode) -> tuple[str, list[float]]:
    counts = Counter(truth.letter for truth, _ in items)
    letter = min(counts, key=lambda candidate: (-counts[candidate], candidate))
    return f"always {letter}", [float(truth.letter == letter) for truth, _ in items]


# For each component, the constant answer in words and its value for every item.
_FITS: Mapping[str, Mapping[str, Callable[[_Items, Mode], tuple[str, list[float]]]]] = {
    "temporal_grounding": {"iou": _interval},
    "tracking": {"iou": _repeated_box},
    "multiple_choice": {"accuracy": _letter},
    "grounded_qa": {"accuracy": _letter, "evidence_iou": _interval},
}
