"""What grading found, for people: how hard the prompts of each task are, and what a band would leave of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean

from rich.table import Table

from cluster.inputs.grades import Grade

EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
NOTE = (
    "Difficulty is 1 minus the mean of the main reward component: 0 is solved by every response, 1 by none. "
    "No spread: all responses of the prompt have the same reward, so that nothing is learned from it."
)


def grade_table(grades: Sequence[Grade]) -> Table:
    """A row per task: its prompts, those that cannot be used, mean reward, and a histogram of difficulty."""
    table = Table(title="Grades", caption=NOTE, title_justify="left", caption_justify="left")
    table.add_column("Task", no_wrap=True)
    bins = [f"{low:g}-{high:g}" for low, high in pairwise(EDGES)]
    for column in ("Prompts", "Unusable", "Reward", "No spread", *bins):
        table.add_column(column, justify="right")
    by_task: dict[str, list[Grade]] = defaultdict(list)
    for grade in grades:
        by_task[grade.task].append(grade)
    for task, its in sorted(by_task.items()):
        table.add_row(task, *_cells(its))
    return table


def histogram(difficulties: Sequence[float]) -> list[int]:
    """How many difficulties lie in each bin; a bin holds its lower edge, the last both."""
    last = len(EDGES) - 2
    places = [min(sum(value >= edge for edge in EDGES[1:]), last) for value in difficulties]
    return [places.count(place) for place in range(last + 1)]


def _cells(grades: Sequence[Grade]) -> list[str]:
    usable = [grade for grade in grades if grade.n]
    means = [grade.mean for grade in usable if grade.mean is not None]
    counts = histogram([grade.difficulty for grade in usable if grade.difficulty is not None])
    return [
        f"{len(grades):,}",
        f"{len(grades) - len(usable):,}",
        f"{fmean(means):.2f}" if means else "–",
        f"{sum(grade.std == 0 for grade in usable):,}",
        *(f"{count:,}" for count in counts),
    ]
