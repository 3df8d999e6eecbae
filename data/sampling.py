"""The sampling contract: which frames of a clip the policy sees, when each is, and how large.

Rollout, learner and evaluation all take their frames from here, so they cannot disagree about the video.

M-RoPE of Qwen2.5-VL has one spacing for all temporal patches of a video. Frames are therefore chosen by time: evenly
spaced moments are laid through the clip, and each takes the frame that is on a player's screen then. A picture that
stands still is taken more than once. vLLM keeps the spacing as a bfloat16, so it is rounded to one before the frames
are chosen: the policy is then told the right time at the end of a long clip too. Only box frames and windows cannot be
evenly spaced. `data.video.Clip.deviation` says how far they are from what the policy is told, and `data.check` warns
above `TOLERANCE_S`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import numpy as np

# Frames are resized to multiples of 28 x 28 pixels: one token of the language model.
TOKEN_PIXELS = 28 * 28
# Beyond this ratio of the sides, one side of a frame would shrink to a single row of patches.
MAX_ASPECT_RATIO = 200
# Frames per second inside a window over those outside (VideoChat-R1.5, arXiv 2509.21100).
WINDOW_DENSITY = Fraction(3, 2)

# A moment this little before a frame appears belongs to the frame, seconds: times are sums of rounded numbers.
ROUNDING_S = 1e-6
# Distance between when a frame is and when the policy is told that it is, seconds, that no warning is worth: a fifth of
# what Qwen2.5-VL tells apart (`tokens_per_second` is 2).
TOLERANCE_S = 0.1

# Parts of a video, start and end in seconds.
Windows = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Choice:
    """The frames of a clip that the policy sees.

    Attributes:
        indices: Which frames of the source, ascending; one that stays on the screen may be taken more than once.
        moments: The second that each was taken for, on the source's clock; the frame is on the screen then.
        sampled_fps: Frames per second among them, as the policy is told: frame k is at `moments[0] + k / sampled_fps`.
    """

    indices: tuple[int, ...]
    moments: tuple[float, ...]
    sampled_fps: float


@dataclass(frozen=True)
class SamplingContract:
    """How clips are sampled in time and space.

    Attributes:
        fps: Frames wanted per second of video.
        min_frames, max_frames: Bounds of the number of frames, multiples of `temporal_patch_size`.
        min_pixels, max_pixels: Bounds of one frame's area after resizing, pixels.
        total_pixels: Budget of a clip after resizing: pixels per temporal patch, summed over the temporal patches.
        patch_size: Side of a vision patch, pixels.
        merge_size: Patches per side that the vision tower merges into one token.
        temporal_patch_size: Frames that make one temporal patch.
        windows: Parts of one video, in seconds, to sample denser at the same number of frames; see `data.perception`.

    Raises:
        ValueError: the bounds contradict each other.
    """

    fps: float = 2.0
    min_frames: int = 4
    max_frames: int = 64
    min_pixels: int = 16 * TOKEN_PIXELS
    max_pixels: int = 256 * TOKEN_PIXELS
    total_pixels: int = 2048 * TOKEN_PIXELS
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    # Left out of the text that identifies a contract: windows show in the frames that are chosen.
    windows: Windows = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if not self.fps > 0:
            raise ValueError(f"fps must be positive, found {self.fps}")
        for what, low, high in (
            ("frames", self.min_frames, self.max_frames),
            ("pixels", self.min_pixels, self.max_pixels),
        ):
            if not 0 < low <= high:
                raise ValueError(f"min_{what} must be above 0 and at most max_{what}, found {low} and {high}")
        if self.min_frames % self.temporal_patch_size or self.max_frames % self.temporal_patch_size:
            raise ValueError(f"min_frames and max_frames must be multiples of {self.temporal_patch_size}")

    @property
    def unit(self) -> int:
        """Side of the square of pixels that becomes one token; both sides of a frame are multiples of it."""
        return self.patch_size * self.merge_size

    def choose_frames(self, times: np.ndarray, end: float, box_frames: Sequence[int] = ()) -> Choice:
        """Which frames of a source video to take.

        Moments are evenly spaced from the first frame on; each takes the frame that is on the screen then. With
        windows, and without box frames, the spacing inside the windows is smaller, and `sampled_fps` is that of all.

        A clip with boxes starts at the first of them. Where all of their frames are among the evenly spaced ones, or
        would be if these were the nearest multiple of their number, it shows those; otherwise the box frames alone.

        Args:
            times: float64 `[n]`, when each frame of the source appears, seconds from the start of the clip, ascending.
            end: When the last of them leaves the screen, or the clip ends.
            box_frames: Indices of the frames that the prompt's boxes belong to, ascending.

        Returns:
            The choice; its frames are a multiple of `temporal_patch_size`.

        Raises:
            ValueError: no frames, frames that last no time, or box frames that are not in the video, not ascending or
                of an odd number.
        """
        if not len(times):
            raise ValueError("no frame is on the screen")
        lasts = end - float(times[0])
        if not 0 < lasts < math.inf:
            raise ValueError(f"its frames last {lasts:g} s")
        if box_frames:
            return self._choose_with_boxes(times, lasts, box_frames)
        count = max(self._count_frames(len(times), lasts, self.temporal_patch_size), self.temporal_patch_size)
        if self.windows:
            return self._choose_within_windows(times, lasts, count)
        grid = round_to_bfloat16(lasts / count * self.temporal_patch_size)
        if grid * (count - 1) >= lasts * self.temporal_patch_size:
            grid = bfloat16_below(grid)
        return on_screen(times, count, grid / self.temporal_patch_size)

    def choose_size(self, height: int, width: int, num_frames: int) -> tuple[int, int]:
        """Height and width of the resized frames.

        Multiples of `unit` near the source's shape. A frame has at most `max_pixels` and at most its share of
        `total_pixels`, though never less than 1.05 times `min_pixels` (the rule of Qwen's video preprocessing). A frame
        that must grow to `min_pixels` is rounded up, by less than one token per side.

        Raises:
            ValueError: no area, or one side more than 200 times the other.
        """
        if min(height, width) < 1 or max(height, width) > MAX_ASPECT_RATIO * min(height, width):
            raise ValueError(f"frames of {width} x {height} pixels")
        share = self.total_pixels * self.temporal_patch_size // num_frames
        most = max(min(self.max_pixels, share), int(self.min_pixels * 1.05))
        rows, columns = round(height / self.unit), round(width / self.unit)
        area = rows * columns * self.unit**2
        if area > most:
            shrink = math.sqrt(height * width / most)
            rows = max(1, math.floor(height / shrink / self.unit))
            columns = max(1, math.floor(width / shrink / self.unit))
        elif area < self.min_pixels:
            grow = math.sqrt(self.min_pixels / (height * width))
            rows, columns = math.ceil(height * grow / self.unit), math.ceil(width * grow / self.unit)
        return rows * self.unit, columns * self.unit

    def count_tokens(self, num_frames: int, height: int, width: int) -> int:
        """How many tokens of a prompt a clip takes, given the size of its resized frames."""
        return num_frames // self.temporal_patch_size * (height // self.unit) * (width // self.unit)

    def seconds_per_grid(self, sampled_fps: float) -> float:
        """Seconds of video in one temporal patch, rounded to a bfloat16.

        vLLM keeps this number in the model's dtype, so anything finer would give rollout and learner different position
        ids in bfloat16. The rounding is off by 0.2% at most; whole and half seconds are exact.
        """
        return round_to_bfloat16(self.temporal_patch_size / sampled_fps)

    def _count_frames(self, total_frames: int, lasts: float, unit: int) -> int:
        """The multiple of `unit` nearest to `fps` frames per second, within the bounds; 0 where none is."""
        wanted = math.floor(lasts * self.fps / unit + 0.5) * unit
        least = math.ceil(self.min_frames / unit) * unit
        most = min(self.max_frames, total_frames) // unit * unit
        return min(max(wanted, least), most)

    def _choose_within_windows(self, times: np.ndarray, lasts: float, count: int) -> Choice:
        """Denser within the windows, in steps of the source's mean spacing."""
        total, begin = len(times), float(times[0])
        inside = tuple((start - begin, end - begin) for start, end in self.windows)
        steps = choose_denser(total, count, frame_ranges(inside, total, total / lasts))
        moments = begin + np.array(steps) * (lasts / total)
        return Choice(frames_at(times, moments), tuple(moments.tolist()), count / lasts)

    def _choose_with_boxes(self, times: np.ndarray, lasts: float, box_frames: Sequence[int]) -> Choice:
        patch = self.temporal_patch_size
        for unit in (patch, math.lcm(patch, len(box_frames))) if box_frames[0] == 0 else ():
            if count := self._count_frames(len(times), lasts, unit):
                choice = on_screen(times, count, lasts / count)
                if set(box_frames) <= set(choice.indices):
                    return choice
        return self._take_box_frames(times, box_frames)

    def _take_box_frames(self, times: np.ndarray, box_frames: Sequence[int]) -> Choice:
        indices = list(box_frames)
        if len(indices) % self.temporal_patch_size:
            raise ValueError(f"{len(indices)} box frames, not a multiple of {self.temporal_patch_size}")
        if any(later <= earlier for earlier, later in pairwise(indices)):
            raise ValueError(f"box frames {indices} are not in ascending order")
        if indices[0] < 0 or indices[-1] >= len(times):
            raise ValueError(f"box frames {indices} are not all among the video's {len(times)} frames")
        moments = [float(times[index]) for index in indices]
        if not moments[0] < moments[-1]:
            raise ValueError(f"the first and the last of the box frames {indices} are shown at the same time")
        return Choice(tuple(indices), tuple(moments), (len(indices) - 1) / (moments[-1] - moments[0]))


def on_screen(times: np.ndarray, count: int, spacing: float) -> Choice:
    """The frames on the screen at `count` moments, `spacing` seconds apart, from the first frame on."""
    moments = float(times[0]) + np.arange(count) * spacing
    return Choice(frames_at(times, moments), tuple(moments.tolist()), 1 / spacing)


def frames_at(times: np.ndarray, moments: np.ndarray) -> tuple[int, ...]:
    """Index of the frame on the screen at each moment: the last one that has appeared; the first before all."""
    return tuple(np.maximum(np.searchsorted(times, moments + ROUNDING_S, side="right") - 1, 0).tolist())


def frame_ranges(windows: Windows, total_frames: int, native_fps: float) -> list[tuple[int, int]]:
    """The frames `[start, end)` that windows in seconds touch, in order, overlapping ones merged."""
    ranges: list[tuple[int, int]] = []
    for start, end in sorted(windows):
        first = max(0, math.floor(start * native_fps))
        last = min(total_frames, math.ceil(end * native_fps))
        if ranges and first <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        elif first < last:
            ranges.append((first, last))
    return ranges


def choose_denser(total: int, count: int, ranges: Sequence[tuple[int, int]]) -> list[int]:
    """`count` of `total` frames, denser within `ranges` by `WINDOW_DENSITY`; evenly spaced without ranges.

    Every frame has a weight, and the frames at even steps of the sum of weights are taken. Where the source has too few
    frames for that, the density is the highest that takes none twice. `ranges` are disjoint and ascending.
    """
    inside = sum(end - start for start, end in ranges)
    density = WINDOW_DENSITY
    if count > inside:
        density = min(density, Fraction(total - inside, count - inside))
    step = (inside * density + total - inside) / count
    indices: list[int] = []
    passed = Fraction(0)
    for start, end, weight in _pieces(total, ranges, density):
        beyond = passed + (end - start) * weight
        while len(indices) < count and len(indices) * step < beyond:
            indices.append(start + math.floor((len(indices) * step - passed) / weight))
        passed = beyond
    return indices


def _pieces(
    total: int, ranges: Sequence[tuple[int, int]], density: Fraction
) -> Iterator[tuple[int, int, Fraction]]:
    """Start, end and weight per frame of what lies between, in and after the ranges."""
    cursor = 0
    for start, end in ranges:
        yield cursor, start, Fraction(1)
        yield start, end, density
        cursor = end
    yield cursor, total, Fraction(1)


def bfloat16_below(value: float) -> float:
    """The next smaller bfloat16 of a positive one."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    (below,) = struct.unpack("<f", struct.pack("<I", bits - 0x10000))
    return float(below)


def round_to_bfloat16(value: float) -> float:
    """The bfloat16 nearest to a positive number, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    (nearest,) = struct.unpack("<f", struct.pack("<I", rounded))
    return float(nearest)
