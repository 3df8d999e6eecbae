"""What `data.check` found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from data.check_facts import Spread, TaskFacts
from data.readers import DatasetSpec
from rewards.terminal import Terminal


@dataclass
class DatasetReport:
    """Everything found about one dataset.

    Attributes:
        entries: Entries in the annotations, unusable ones included.
        prompts: Usable ones.
        videos: Different videos that entries name.
        durations: Listed lengths of those videos, seconds.
        tasks: The usable prompts, by task.
        problems: `place: reason` of what cannot be used.
        warnings: `place: reason` of what can, and looks wrong.
        clips: How many clips were tried; 0 when asked not to.
        decoded: How many of them decoded.
    """

    spec: DatasetSpec
    entries: int = 0
    prompts: int = 0
    videos: int = 0
    durations: Spread | None = None
    tasks: Mapping[str, TaskFacts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    clips: int = 0
    decoded: int = 0

    def to_json(self) -> dict[str, Any]:
        """Everything, with paths as text."""
        found = asdict(self)
        spec = found.pop("spec")
        named = {key: str(spec[key]) for key in ("name", "format", "annotations")}
        return {**named, "videos_folder": str(self.spec.videos_folder), **found}


def show(console: Terminal, reports: Sequence[DatasetReport], most: int) -> None:
    """Print for each dataset how much there is, a table of every task, and its first `most` problems and warnings."""
    for report in reports:
        name = f"{report.spec.name} ({report.spec.format})"
        console.print(f"{name}: {_summary(report)}", soft_wrap=True)
        for task, facts in report.tasks.items():
            console.print(_table(task, facts))
        _messages(console, report.spec.name, "problem", report.problems, most)
        _messages(console, report.spec.name, "warning", report.warnings, most)


def _table(task: str, facts: TaskFacts) -> Table:
    """A line for each fact, which is folded where the terminal is narrow."""
    table = Table("", task)
    for head, value in _cells(facts).items():
        if value:
            table.add_row(head, value)
    return table


def _summary(report: DatasetReport) -> str:
    seconds = f", {report.durations.mean:.2f} s on average" if report.durations else ""
    decoded = f", {report.decoded:,} of {report.clips:,} clips decode" if report.clips else ""
    if report.prompts and not report.clips:
        decoded = ", no clip was decoded"
    usable = (
        f"{report.prompts:,} usable by {'its annotation' if report.entries == 1 else 'their annotations'}"
    )
    return (
        f"{_counted(report.entries, 'entry', 'entries')}, {usable}, "
        f"{_counted(report.videos, 'video', 'videos')}{seconds}{decoded}; "
        f"{_counted(len(report.problems), 'problem', 'problems')}, "
        f"{_counted(len(report.warnings), 'warning', 'warnings')}"
    )


def _counted(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"


def _cells(facts: TaskFacts) -> dict[str, str]:
    """What is shown of a task, by the head of its row."""
    return {
        "prompts": f"{facts.prompts:,}",
        "videos": f"{facts.videos:,}",
        "seconds": _seconds(facts.durations) if facts.durations else "not listed",
        "covered by intervals": "" if facts.coverage is None else f"{facts.coverage:.1%}",
        "right answers": ", ".join(f"{label}: {count:,}" for label, count in facts.labels.items()),
        "best constant answer": facts.constant,
        "which scores, percent": f"{100 * facts.constant_score:.2f}",
        "trivial answer, percent": "\n".join(f"{name}: {_metrics(of)}" for name, of in facts.trivial.items()),
    }


def _seconds(durations: Spread) -> str:
    return f"{durations.least:.2f} to {durations.greatest:.2f}, {durations.mean:.2f} on average"


def _metrics(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {100 * value:.2f}" for name, value in values.items())


def _messages(console: Terminal, name: str, kind: str, messages: Sequence[str], most: int) -> None:
    for message in messages[:most]:
        console.print(f"{kind}: {message}", soft_wrap=True)
    if len(messages) > most:
        rest = (
            f"{name}: {_counted(len(messages) - most, f'more {kind}', f'more {kind}s')}; --json has them all"
        )
        console.print(rest)
