"""Where things lie on a chart: linear axes, round ticks, few enough points, labels that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 250
TOP, BOTTOM = 12, 28
MARGIN, LABEL_MARGIN = 22, 112
CHARACTER = 6.4
MOST_POINTS = 400


@dataclass
class Axes:
    """Where a value lies on the drawing: linear in both directions.

    Attributes:
        steps: First and last step.
        values: Lower and upper end of the y axis.
        ticks: Values with a grid line.
        left: Left end of the plot on the drawing, beyond the tick labels.
        right: Right end of the plot on the drawing, before the names of levels.
    """

    steps: tuple[float, float]
    values: tuple[float, float]
    ticks: list[float]
    left: float
    right: float

    def x(self, step: float) -> float:
        """Horizontal position of a step."""
        first, last = self.steps
        share = (step - first) / (last - first) if last > first else 0.5
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        """Vertical position of a value."""
        low, high = self.values
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that reach from `low` to `high` or beyond."""
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        high = low + (abs(low) * 0.1 or 1.0)
    exact = (high - low) / about
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= exact * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def tick_text(tick: float, ticks: Sequence[float]) -> str:
    """A tick's number with as many decimals as its neighbours need."""
    step = ticks[1] - ticks[0]
    if abs(tick) < step / 2:
        return "0"
    if max(map(abs, ticks)) < 1e-3:
        return f"{tick:.1e}".replace("e-0", "e-")
    return f"{tick:.{max(0, math.ceil(-math.log10(step) - 1e-9))}f}"


def thin(count: int, most: int = MOST_POINTS) -> list[int]:
    """Indices of at most about `most` of `count` points, evenly spread, both ends included."""
    if count <= most:
        return list(range(count))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def spread_out(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights in rising order, moved as little as this takes to be `gap` apart within `low` and `high`."""
    placed: list[float] = []
    for y in heights:
        placed.append(max(y, low, placed[-1] + gap if placed else low))
    ceiling = high
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
