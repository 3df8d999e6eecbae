"""The result table for people: on the terminal, in Markdown, and over several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from rich.table import Table

from cluster.records.markdown import markdown_rows
from cluster.records.result_records import MetricResult, Results, TaskResult
from rewards import SPECS, Mode

COLUMNS = ("Task", "Clips", "Cold start", "Constant answer", "After GRPO", "Gain")
NOTE = "Percent on held-out clips, greedy; ± is half of the bootstrap 95% interval over clips."

# By the mode of scoring too, where that decides what is measured.
METRIC_NAMES = {
    ("temporal_grounding", "iou", "strict"): "Temporal grounding, mIoU",
    ("temporal_grounding", "iou", "paper"): "Temporal grounding, mIoU",
    ("tracking", "iou", "strict"): "Tracking, AO without the first box",
    ("tracking", "iou", "paper"): "Tracking, AO with the first box",
}


def metric_name(task: str, metric: str, mode: Mode | None = None) -> str:
    """How a task's metric is called in tables and charts; in general terms where the mode is not known."""
    general = f"{SPECS[task].title}, {component_name(metric)}"
    return METRIC_NAMES.get((task, metric, mode), general) if mode else general


def component_name(component: str) -> str:
    """A reward component in words: `evidence IoU`."""
    return component.replace("_", " ").replace("iou", "IoU").replace("iop", "IoP")


def result_rows(results: Results) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` per metric."""
    return [
        (
            metric_name(task, metric.metric, results.mode),
            clips_cell(result),
            str(metric.cold_start),
            f"{metric.constant:.1f} ({metric.constant_answer})",
            str(metric.grpo),
            gain_cell(metric),
        )
        for task, result in results.tasks.items()
        for metric in result.metrics
    ]


def clips_cell(result: TaskResult) -> str:
    """Number of clips, and how many of them could not be evaluated."""
    return f"{result.clips} ({len(result.failed)} failed)" if result.failed else str(result.clips)


def gain_cell(metric: MetricResult) -> str:
    """The gain with its sign."""
    return f"{metric.gain.mean:+.1f} ± {metric.gain.half_width:.1f}"


def rich_table(results: Results, title: str = "Held-out results") -> Table:
    """The table for the terminal."""
    table = Table(title=title, caption=NOTE, title_justify="left", caption_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("Task", "Constant answer") else "right")
    for row in result_rows(results):
        table.add_row(*row)
    return table


def markdown_table(results: Results) -> str:
    """The same table in Markdown."""
    return f"{markdown_rows(COLUMNS, result_rows(results))}\n\n{NOTE}"


def combined_markdown(runs: Mapping[str, Results]) -> str:
    """One table over several seeds: means over the runs, then each run's own figures.

    Raises:
        ValueError: the runs do not share a task.
    """
    first, *others = runs.values()
    shared = [task for task in first.tasks if all(task in other.tasks for other in others)]
    if not shared:
        raise ValueError(f"the runs {', '.join(runs)} have no task in common")
    columns = (*COLUMNS, *runs)
    per_task = {task: [run.tasks[task] for run in runs.values()] for task in shared}
    modes = {results.mode for results in runs.values()}
    mode = modes.pop() if len(modes) == 1 else None
    rows = [row for task, results in per_task.items() for row in _combined_rows(task, results, mode)]
    note = (
        f"Percent on held-out clips, greedy; mean ± standard deviation over {len(runs)} runs. "
        "A run's own column: after GRPO ± half of the bootstrap 95% interval over clips, and its gain."
    )
    return f"{markdown_rows(columns, rows)}\n\n{note}"


def _combined_rows(task: str, results: Sequence[TaskResult], mode: Mode | None) -> list[tuple[str, ...]]:
    per_metric = zip(*(result.metrics for result in results), strict=True)
    clips = " / ".join(dict.fromkeys(clips_cell(result) for result in results))
    return [
        (
            metric_name(task, metrics[0].metric, mode),
            clips,
            _spread([m.cold_start.mean for m in metrics]),
            _spread([m.constant for m in metrics]),
            _spread([m.grpo.mean for m in metrics]),
            _spread([m.gain.mean for m in metrics], sign="+"),
            *(f"{m.grpo} ({m.gain.mean:+.1f})" for m in metrics),
        )
        for metrics in per_metric
    ]


def _spread(values: Sequence[float], sign: str = "") -> str:
    return f"{fmean(values):{sign}.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:{sign}.1f}"
