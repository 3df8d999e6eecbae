"""The live display: one panel drawn from the state, laid out for a terminal of 80 columns and more."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cluster.progress.state import ProgressState, figure, spoken, step_seconds
from cluster.records.metrics import StepRecord
from cluster.records.result_records import METRICS
from cluster.records.result_tables import metric_name


def draw(state: ProgressState) -> RenderableType:
    """The whole display."""
    parts: list[RenderableType] = [_stage_line(state)]
    parts += [
        Text(f"{what}: {spoken(state.clock() - since)}", "cyan") for what, since in state.waiting.items()
    ]
    if state.tasks:
        parts += [Text(), _task_table(state)]
    if state.record is not None:
        parts += [Text(), _figures(state.record)]
    if state.warnings:
        parts += [Text(), _warnings(state)]
    return Panel(
        Group(*parts), title=Text(f"zoetrope · {state.run_name}"), title_align="left", border_style="dim"
    )


def _stage_line(state: ProgressState) -> RenderableType:
    pace = state.pace
    grid = Table.grid(padding=(0, 2))
    name = Text(state.stage or "starting", "bold")
    now = state.clock()
    if pace.total is None:
        grid.add_row(name, Text(spoken(now - pace.started), "dim"))
    else:
        bar = ProgressBar(total=pace.total, completed=pace.done, width=28)
        left = f"{spoken(pace.seconds_left(now))} left" if pace.done < pace.total else "done"
        grid.add_row(name, f"{pace.done}/{pace.total}", bar, Text(left, "dim"))
    return grid


def _task_table(state: ProgressState) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("task, main metric")
    for column in ("reward", "metric", "constant answer"):
        table.add_column(column, justify="right")
    for task, view in state.tasks.items():
        constant = state.constants.get(task)
        ahead = view.metric is not None and constant is not None and view.metric > constant
        table.add_row(
            metric_name(task, METRICS[task][0]) if task in METRICS else task,
            figure(view.reward, ".2f"),
            Text(_percent(view.metric), "green" if ahead else ""),
            Text(_percent(constant), "dim"),
        )
    return table


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}%"


def _figures(record: StepRecord) -> RenderableType:
    """Health of the step in three columns, then its seconds."""
    cells = {
        "mismatch": figure(record.mismatch, ".6f"),
        "staleness": f"{figure(record.staleness_mean, '.1f')} (max {figure(record.staleness_max, '.0f')})",
        "entropy": figure(record.entropy, ".3f"),
        "loss": figure(record.loss, ".4f"),
        "grad norm": figure(record.grad_norm),
        "response tokens": figure(record.response_length_mean, ".0f"),
        "groups dropped": str(record.groups_dropped),
        "clips skipped": f"{record.clips_skipped} ({record.clips_quarantined} quarantined)",
        "rewards failed": str(record.rewards_failed),
        "cache hits": _percent(None if record.cache_hit_rate is None else 100 * record.cache_hit_rate),
    }
    grid = Table.grid(padding=(0, 2, 0, 0))
    shown = [Text.assemble((f"{name} ", "dim"), value) for name, value in cells.items()]
    for first in range(0, len(shown), 3):
        grid.add_row(*shown[first : first + 3])
    return Group(grid, Text.assemble(("step ", "dim"), step_seconds(record)))


def _warnings(state: ProgressState) -> RenderableType:
    hidden = state.warning_count - len(state.warnings)
    lines = [f"warning: {message}" for message in state.warnings]
    lines += [f"and {hidden} earlier warnings"] if hidden else []
    return Text("\n".join(lines), "yellow")
