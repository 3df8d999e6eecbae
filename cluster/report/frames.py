"""Frame strips of held-out clips: eight frames with true and predicted boxes, true and predicted times below.

A frame stands at its time: the strip spans the clip from its first frame on, and each frame is the video at its own
left edge.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from data.sampling import SamplingContract

FRAMES = 8
JPEG_QUALITY = 82

# Larger than any clip's own rate, so that the number of frames is always `FRAMES`.
VIEW = SamplingContract(
    fps=1000.0,
    min_frames=2,
    max_frames=FRAMES,
    min_pixels=160**2,
    max_pixels=250**2,
    total_pixels=FRAMES * 250**2,
)


@dataclass(frozen=True)
class Spans:
    """A row of bars under a strip.

    Attributes:
        colour: Name of a CSS colour class.
        intervals: `[start, end]` in seconds, possibly none.
    """

    name: str
    colour: str
    intervals: Sequence[Sequence[float]]


@dataclass(frozen=True)
class BoxTrack:
    """A box per frame, `[x0, y0, x1, y1]` normalised, drawn with the line style of its CSS class."""

    name: str
    colour: str
    boxes: Sequence[Sequence[float]]


def frame_strip(frames: np.ndarray, tracks: Sequence[BoxTrack] = ()) -> str:
    """The frames side by side.

    Args:
        frames: uint8 `[T, H, W, 3]`.
        tracks: Boxes to draw; a track shorter than T ends early.
    """
    cells = [f'<div class="frame">{_image(frame)}{_boxes(tracks, n)}</div>' for n, frame in enumerate(frames)]
    return f'<div class="strip">{"".join(cells)}</div>'


def missing_strip(reason: str) -> str:
    """What stands for a clip without frames."""
    return f'<div class="strip missing">{escape(reason)}</div>'


def timeline(begin: float, end: float, rows: Sequence[Spans]) -> str:
    """Bars on the strip's time axis, one row per answer, with their seconds in words.

    Args:
        begin, end: When the first frame of the strip is, and when the clip ends, seconds from the start of the clip.
    """
    lines = [_time_row(begin, end, row) for row in rows]
    starts = [(100 * n / FRAMES, begin + (end - begin) * n / FRAMES) for n in range(FRAMES)]
    ticks = "".join(f'<i style="left:{left:.2f}%">{_seconds(second)}</i>' for left, second in starts)
    return f'<div class="time-row"><span>seconds</span><div class="axis">{ticks}</div></div>{"".join(lines)}'


def clipped(interval: Sequence[float], begin: float, end: float) -> tuple[float, float] | None:
    """The part of an interval inside the strip; None if there is none, or it is no interval."""
    if len(interval) != 2 or not all(isinstance(time, int | float) for time in interval):
        return None
    first, last = max(begin, float(interval[0])), min(end, float(interval[1]))
    return (first, last) if first < last else None


def _time_row(begin: float, end: float, row: Spans) -> str:
    inside = [span for interval in row.intervals if (span := clipped(interval, begin, end))]
    scale = 100 / (end - begin)
    bars = "".join(
        f'<i class="bar c-{row.colour}" style="left:{scale * (first - begin):.2f}%;'
        f'width:{scale * (last - first):.2f}%"></i>'
        for first, last in inside
    )
    words = ", ".join(f"{_seconds(first)}–{_seconds(last)}" for first, last in inside) or "none"
    return (
        f'<div class="time-row"><span class="c-{row.colour}"><b>{escape(row.name)}</b> {words}</span>'
        f'<div class="lane">{bars}</div></div>'
    )


def _seconds(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _image(frame: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def _boxes(tracks: Sequence[BoxTrack], number: int) -> str:
    shown = [(track, track.boxes[number]) for track in tracks if number < len(track.boxes)]
    placed = [(track.colour, _rectangle(box)) for track, box in shown if len(box) == 4]
    # Dark outlines below all boxes: the colours must stand out on any footage, and on each other.
    rectangles = "".join(f'<rect class="halo" {place}/>' for _, place in placed)
    rectangles += "".join(f'<rect class="box c-{colour}" {place}/>' for colour, place in placed)
    return f'<svg viewBox="0 0 1 1" preserveAspectRatio="none">{rectangles}</svg>' if rectangles else ""


def _rectangle(box: Sequence[float]) -> str:
    x0, y0, x1, y1 = (min(max(float(value), 0.0), 1.0) for value in box)
    return f'x="{x0:.4f}" y="{y0:.4f}" width="{max(x1 - x0, 0):.4f}" height="{max(y1 - y0, 0):.4f}"'
