"""The sampling contract: which frames of a clip the policy sees, and how large.

Rollout, learner and evaluation all take their frames from here, so they cannot disagree about the video.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

# Frames are resized to multiples of 28 x 28 pixels: one token of the language model.
TOKEN_PIXELS = 28 * 28
# Beyond this ratio of the sides, one side of a frame would shrink to a single row of patches.
MAX_ASPECT_RATIO = 200
# Frames per second inside a window over those outside (VideoChat-R1.5, arXiv 2509.21100).
WINDOW_DENSITY = Fraction(3, 2)

# Parts of a video, start and end in seconds.
Windows = tuple[tuple[float, float], ...]


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

    def choose_frames(
        self, total_frames: int, native_fps: float, box_frames: Sequence[int] = ()
    ) -> tuple[list[int], float]:
        """Which frames of a source video to take.

        Frames are evenly spaced from the first on: frame k of n is `floor(k * total_frames / n)`, so it is shown at
        `k / sampled_fps` seconds, late by less than one source frame. With windows, and without box frames, the spacing
        inside the windows is smaller; `sampled_fps` is still that of all frames.

        A clip with boxes starts at the first of them. Where all of their frames are among the evenly spaced ones, or
        would be if these were the nearest multiple of their number, it shows those; otherwise the box frames alone.

        Args:
            total_frames: Frames in the source video, taken to be evenly spaced in time.
            native_fps: Frames per second of the source video.
            box_frames: Frame indices in the source video that the prompt's boxes belong to, ascending.

        Returns:
            The indices, ascending, their number a multiple of `temporal_patch_size`; and the sampled fps, one over
            their mean spacing in seconds.

        Raises:
            ValueError: too few frames for one temporal patch, no valid frame rate, or box frames that are not in the
                video, not ascending or of an odd number.
        """
        if total_frames < self.temporal_patch_size:
            raise ValueError(f"{total_frames} frames, at least {self.temporal_patch_size} are needed")
        if not (native_fps > 0 and math.isfinite(native_fps)):
            raise ValueError(f"the frame rate is {native_fps}")
        if box_frames:
            return self._choose_with_boxes(total_frames, native_fps, box_frames)
        count = self._count_frames(total_frames, native_fps, self.temporal_patch_size)
        windows = frame_ranges(self.windows, total_frames, native_fps)
        return choose_denser(total_frames, count, windows), count * native_fps / total_frames

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

    def _count_frames(self, total_frames: int, native_fps: float, unit: int) -> int:
        """The multiple of `unit` nearest to `fps` frames per second, within the bounds; 0 where none is."""
        wanted = math.floor(total_frames / native_fps * self.fps / unit + 0.5) * unit
        least = math.ceil(self.min_frames / unit) * unit
        most = min(self.max_frames, total_frames) // unit * unit
        return min(max(wanted, least), most)

    def _choose_with_boxes(
        self, total_frames: int, native_fps: float, box_frames: Sequence[int]
    ) -> tuple[list[int], float]:
        patch = self.temporal_patch_size
        for unit in (patch, math.lcm(patch, len(box_frames))) if box_frames[0] == 0 else ():
            count = self._count_frames(total_frames, native_fps, unit)
            indices = choose_denser(total_frames, count, ()) if count else []
            if set(box_frames) <= set(indices):
                return indices, count * native_fps / total_frames
        return self._take_box_frames(total_frames, native_fps, box_frames)

    def _take_box_frames(
        self, total_frames: int, native_fps: float, box_frames: Sequence[int]
    ) -> tuple[list[int], float]:
        indices = list(box_frames)
        if len(indices) % self.temporal_patch_size:
            raise ValueError(f"{len(indices)} box frames, not a multiple of {self.temporal_patch_size}")
        if any(later <= earlier for earlier, later in pairwise(indices)):
            raise ValueError(f"box frames {indices} are not in ascending order")
        if indices[0] < 0 or indices[-1] >= total_frames:
            raise ValueError(f"box frames {indices} are not all among the video's {total_frames} frames")
        return indices, (len(indices) - 1) * native_fps / (indices[-1] - indices[0])


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


def round_to_bfloat16(value: float) -> float:
    """The bfloat16 nearest to a positive number, ties to even."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    (nearest,) = struct.unpack("<f", struct.pack("<I", rounded))
    return float(nearest)
