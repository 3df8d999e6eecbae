"""Line charts as inline SVG: raw points faint, a smoothed line over them, labelled levels across.

Colours are CSS classes (`c-policy`, `c-format`, ...), so that the page's light and dark themes apply. Each
chart carries its numbers as JSON for the page's hover script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cluster.report.axes import (
    BOTTOM,
    CHARACTER,
    HEIGHT,
    LABEL_MARGIN,
    MARGIN,
    TOP,
    WIDTH,
    Axes,
    round_ticks,
    spread_out,
    thin,
    tick_text,
)

LABEL_GAP = 13.0


@dataclass(frozen=True)
class Series:
    """One measured curve.

    Attributes:
        colour: Name of a CSS colour class.
        values: One value per step of the chart; None where nothing was measured.
    """

    name: str
    colour: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with; with `low` and `high`, a point with its interval at the right."""

    name: str
    colour: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Chart:
    """What a chart shows.

    Attributes:
        form: Format of its numbers, as `format` takes it.
        top: Upper end of the y axis when it is fixed, 100 for percent.
        stacked: Draw the series as areas on top of each other.
    """

    title: str
    steps: Sequence[int]
    series: Sequence[Series]
    levels: Sequence[Level] = ()
    note: str = ""
    form: str = ".3g"
    bottom: float | None = None
    top: float | None = None
    stacked: bool = False


def draw_chart(chart: Chart) -> str:
    """The chart as a `<figure>` with its title, key, drawing and note."""
    smooth = [Series(s.name, s.colour, rolling_mean(s.values)) for s in chart.series]
    shown = stacked(smooth) if chart.stacked else smooth
    axes = fit_axes(chart, shown)
    curves = _areas(chart, shown, axes) if chart.stacked else _curves(chart, smooth, axes)
    drawing = "".join([_grid(chart, axes), *(_level_line(level, axes) for level in chart.levels), curves])
    labels = _level_labels(chart, axes)
    key = "".join(f'<span class="key c-{s.colour}">{escape(s.name)}</span>' for s in chart.series)
    note = f"<p>{escape(chart.note)}</p>" if chart.note else ""
    title, data = escape(chart.title), escape(_hover_data(chart, smooth, axes))
    return (
        f'<figure class="chart" data-chart="{data}"><figcaption><b>{title}</b>{key}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{drawing}{labels}'
        f'<line class="cursor" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/></svg><output></output>{note}</figure>'
    )


def rolling_mean(values: Sequence[float | None]) -> list[float | None]:
    """Centred mean over a twenty-fifth of the run, at least 5 steps; None where the window holds nothing."""
    half = max(2, len(values) // 50)
    means: list[float | None] = []
    for middle in range(len(values)):
        near = [v for v in values[max(0, middle - half) : middle + half + 1] if v is not None]
        means.append(sum(near) / len(near) if near else None)
    return means


def stacked(series: Sequence[Series]) -> list[Series]:
    """Each series raised by the sum of those before it; a missing value counts 0."""
    floor = [0.0] * max((len(s.values) for s in series), default=0)
    raised = []
    for one in series:
        floor = [low + (value or 0.0) for low, value in zip(floor, one.values, strict=True)]
        raised.append(Series(one.name, one.colour, list(floor)))
    return raised


def fit_axes(chart: Chart, shown: Sequence[Series]) -> Axes:
    """Axes that hold every drawn value and level, the y axis ending on round numbers."""
    raw = [] if chart.stacked else [v for s in chart.series for v in s.values if v is not None]
    values = raw + [v for s in shown for v in s.values if v is not None]
    values += [
        end for level in chart.levels for end in (level.value, level.low, level.high) if end is not None
    ]
    values += [0.0] if chart.stacked else []
    low = min(values, default=0.0) if chart.bottom is None else chart.bottom
    high = max(values, default=1.0) if chart.top is None else chart.top
    ticks = round_ticks(low, high)
    ends = (min(low, ticks[0]), max(high, ticks[-1]))
    left = 12 + CHARACTER * max(len(tick_text(tick, ticks)) for tick in ticks)
    right = WIDTH - (LABEL_MARGIN if chart.levels else MARGIN)
    steps = (min(chart.steps, default=0), max(chart.steps, default=1))
    return Axes(steps, ends, ticks, left, right)


def _grid(chart: Chart, axes: Axes) -> str:
    base = HEIGHT - BOTTOM
    parts = ['<g class="grid">']
    for tick in axes.ticks:
        y = axes.y(tick)
        parts.append(f'<line x1="{axes.left:.1f}" x2="{axes.right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = tick_text(tick, axes.ticks)
        parts.append(f'<text x="{axes.left - 7:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>')
    first, last = (round(end) for end in axes.steps)
    for step in dict.fromkeys((first, (first + last) // 2, last)):
        label = f"step {step}" if step == first else f"{step}"
        parts.append(f'<text x="{axes.x(step):.1f}" y="{base + 16}" text-anchor="middle">{label}</text>')
    return "".join(parts) + "</g>"


def _curves(chart: Chart, smooth: Sequence[Series], axes: Axes) -> str:
    raw = [_path(chart.steps, s, axes, "raw") for s in chart.series]
    return "".join(raw + [_path(chart.steps, s, axes, "smooth") for s in smooth])


def _path(steps: Sequence[int], series: Series, axes: Axes, kind: str) -> str:
    """A line through the values, broken where there is none; a lone value is a dot."""
    runs: list[list[str]] = [[]]
    for index in thin(len(steps)):
        value = series.values[index]
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{axes.x(steps[index]):.1f},{axes.y(value):.1f}")
    # A line of no length with round caps is a dot.
    lines = [" ".join(run if len(run) > 1 else run * 2) for run in runs if run]
    return "".join(f'<polyline class="{kind} c-{series.colour}" points="{points}"/>' for points in lines)


def _areas(chart: Chart, raised: Sequence[Series], axes: Axes) -> str:
    """Areas from the topmost down, so that each lower one covers what is beneath it."""
    parts = []
    kept = thin(len(chart.steps))
    for series in reversed(raised):
        points = [f"{axes.x(chart.steps[i]):.1f},{axes.y(series.values[i] or 0.0):.1f}" for i in kept]
        ends = (
            [f"{axes.x(chart.steps[i]):.1f},{axes.y(0.0):.1f}" for i in (kept[-1], kept[0])] if kept else []
        )
        parts.append(f'<polygon class="area c-{series.colour}" points="{" ".join(points + ends)}"/>')
    return "".join(parts)


def _level_line(level: Level, axes: Axes) -> str:
    y, right = axes.y(level.value), axes.right
    if level.low is None or level.high is None:
        ends = f'x1="{axes.left:.1f}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"'
        return f'<line class="level c-{level.colour}" {ends}/>'
    x = right + 5
    return (
        f'<line class="whisker c-{level.colour}" x1="{x}" x2="{x}" y1="{axes.y(level.low):.1f}" '
        f'y2="{axes.y(level.high):.1f}"/><circle class="dot c-{level.colour}" cx="{x}" cy="{y:.1f}" r="3.5"/>'
    )


def _level_labels(chart: Chart, axes: Axes) -> str:
    """Names of the levels at the right, pushed apart where they would overlap."""
    ordered = sorted(chart.levels, key=lambda level: -level.value)
    heights = spread_out([axes.y(level.value) for level in ordered], LABEL_GAP, TOP + 4, HEIGHT - BOTTOM)
    return "".join(
        f'<text class="label c-{level.colour}" x="{axes.right + 13}" y="{y + 3.5:.1f}">'
        f"{escape(level.name)} {level.value:{chart.form}}</text>"
        for level, y in zip(ordered, heights, strict=True)
    )


def _hover_data(chart: Chart, smooth: Sequence[Series], axes: Axes) -> str:
    kept = thin(len(chart.steps))
    shown = [[_text(s.values[i], chart.form) for i in kept] for s in smooth]
    return json.dumps(
        {
            "x": [round(axes.x(chart.steps[i]), 1) for i in kept],
            "step": [chart.steps[i] for i in kept],
            "names": [s.name for s in smooth],
            "values": shown,
        }
    )


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
