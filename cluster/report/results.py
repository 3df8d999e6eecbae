"""The report's result table: cold start, constant answer and GRPO, as figures and on one scale."""

from __future__ import annotations

from html import escape

from cluster.records.result_records import MetricResult, Results, TaskResult
from cluster.records.result_tables import NOTE, clips_cell, metric_name

SCALE_NOTE = (
    "On the scale: grey the cold start, blue after GRPO, each with its interval, amber the constant answer."
)


def result_section(results: Results) -> str:
    """The section with the table, one row per metric."""
    rows = "".join(
        _row(metric_name(task, metric.metric, results.mode), metric, result)
        for task, result in results.tasks.items()
        for metric in result.metrics
    )
    head = "".join(f"<th{extra}>{name}</th>" for name, extra in HEADINGS.items())
    return (
        f'<section><h2>Results</h2><div class="wide"><table class="results"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
        f'<p class="note">{NOTE} <span class="scale-note">{SCALE_NOTE}</span></p></section>'
    )


HEADINGS = {
    "Task": "",
    "Clips": ' class="n"',
    "Cold start": ' class="n"',
    "Constant answer": ' class="n"',
    "After GRPO": ' class="n"',
    "Gain": ' class="n"',
    "0 to 100": ' class="scale"',
}


def _row(full_name: str, metric: MetricResult, result: TaskResult) -> str:
    name, _, unit = full_name.partition(", ")
    cells = [
        f"<td><b>{escape(name)}</b><small>{escape(unit)}</small></td>",
        f'<td class="n">{clips_cell(result)}</td>',
        f'<td class="n">{_figure(metric.cold_start.mean, metric.cold_start.half_width)}</td>',
        f'<td class="n">{metric.constant:.1f}<small>{escape(metric.constant_answer)}</small></td>',
        f'<td class="n c-policy"><b>{_figure(metric.grpo.mean, metric.grpo.half_width)}</b></td>',
        f'<td class="n">{_figure(metric.gain.mean, metric.gain.half_width, "+")}</td>',
        f'<td class="scale">{_scale(metric)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _figure(mean: float, half_width: float, sign: str = "") -> str:
    return f"{mean:{sign}.1f}<i>± {half_width:.1f}</i>"


def _scale(metric: MetricResult) -> str:
    """Both stages as dots with whiskers, the constant answer as a tick, on 200 units for 0 to 100."""
    first, last, constant = (2 * v for v in (metric.cold_start.mean, metric.grpo.mean, metric.constant))
    ticks = "".join(f'<line class="faint" x1="{x}" x2="{x}" y1="4" y2="24"/>' for x in (0, 50, 100, 150, 200))
    return (
        f'<svg viewBox="-5 0 210 28">{ticks}'
        f'<line class="path" x1="{first:.1f}" x2="{last:.1f}" y1="14" y2="14"/>'
        f'<line class="tick c-constant" x1="{constant:.1f}" x2="{constant:.1f}" y1="5" y2="23"/>'
        f"{_dot(metric.cold_start.low, metric.cold_start.high, first, 'cold')}"
        f"{_dot(metric.grpo.low, metric.grpo.high, last, 'policy')}</svg>"
    )


def _dot(low: float, high: float, x: float, colour: str) -> str:
    return (
        f'<line class="whisker c-{colour}" x1="{2 * low:.1f}" x2="{2 * high:.1f}" y1="14" y2="14"/>'
        f'<circle class="dot c-{colour}" cx="{x:.1f}" cy="14" r="4.5"/>'
    )
