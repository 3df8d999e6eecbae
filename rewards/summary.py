"""The summary of a scored file: per task, the mean of every component beside its constant-answer baseline."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from rewards.baselines import constant_baseline
from rewards.predictions import Sample, oddity
from rewards.result import Mode, Score
from rewards.tasks import COMPONENTS


class Summary:
    """Sums over the samples of a file.

    A bad line of a known task counts there, with 0 in every component. The baseline has the same denominator:
    it scores 0 only where the target itself is unusable.

    Attributes:
        unscored: Lines whose task is not known.
        odd: Lines whose own annotation would not score.
        first_odd: Which was the first, and why.
    """

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._scores: dict[str, list[Score]] = defaultdict(list)
        self._items: dict[str, list[tuple[Mapping[str, Any], float | None]]] = defaultdict(list)
        self._bad: Counter[str] = Counter()
        self.unscored = 0
        self.odd = 0
        self.first_odd = ""

    def add(self, sample: Sample, score: Score | None) -> None:
        """Count one line; its score is None where its task is not known."""
        if sample.task is None or score is None:
            self.unscored += 1
            return
        self._scores[sample.task].append(score)
        self._bad[sample.task] += sample.problem is not None
        if sample.target is not None:
            self._items[sample.task].append((sample.target, sample.duration))
        # Published functions have their own ideas of what is right.
        if self._mode == "strict" and (odd := oddity(sample)):
            self.odd += 1
            self.first_odd = self.first_odd or f"id {sample.id!a}: {odd}"

    @property
    def lines(self) -> int:
        """Number of lines, bad ones included."""
        return self.unscored + sum(map(len, self._scores.values()))

    @property
    def bad(self) -> int:
        """Number of bad lines, those without a known task included."""
        return self.unscored + self._bad.total()

    def table(self) -> Table:
        """One row per task and component, and one for the total; the constant answers in words below."""
        table = Table(title=f"{self._mode} scoring", caption_justify="left")
        for column in ("task", "samples", "bad", "component", "mean", "constant"):
            is_text = column in ("task", "component")
            table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
        answers = [self._add_task(table, task) for task in COMPONENTS if task in self._scores]
        table.caption = "\n".join(answers)
        return table

    def _add_task(self, table: Table, task: str) -> str:
        """Add the rows of a task; returns its constant answer in words."""
        scores, items = self._scores[task], self._items[task]
        baseline = constant_baseline(task, items, self._mode) if items else None
        constants = baseline.components if baseline else {}
        means = {
            name: sum(score.rewards[name] for score in scores) / len(scores) for name in COMPONENTS[task]
        }
        for component, mean in means.items():
            constant = f"{sum(constants[component]) / len(scores):.4f}" if component in constants else ""
            table.add_row(task, str(len(scores)), str(self._bad[task]), component, f"{mean:.4f}", constant)
        table.add_row(task, str(len(scores)), str(self._bad[task]), "total", f"{sum(means.values()):.4f}", "")
        table.add_section()
        return f"constant answer for {task}: {baseline.description if baseline else 'none, no usable target'}"
