"""Decoding: a video to the frames that the sampling contract chooses, resized, with what must be known of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data.file_kind import foreign_content
from data.frame_sources import FrameSource, open_source
from data.frame_times import UnconfirmedFrames
from data.limits import require_rate, require_time
from data.sampling import SamplingContract

# A part of a video in seconds, the start in it and the end not.
Span = tuple[float, float]
# Frames whose width over height differs by less are of one shape: sizes are rounded to whole, even pixels.
SHAPE_TOLERANCE = 0.05
# Rounding of a time that was written with a few decimals should not move it by a frame.
FRAME_TOLERANCE = 1e-3


class ClipError(Exception):
    """A clip that cannot be used.

    Attributes:
        path: The video: a file or a folder.
        reason: Why, for the reader of a report.
    """

    def __init__(self, path: str, reason: str) -> None:
        # Both go to the base class: an exception is pickled by its args when it crosses to another process.
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Clip:
    """The frames of a video that the policy sees.

    Attributes:
        frames: uint8 `[T, H, W, 3]`, RGB, already at the contract's size.
        frame_indices: Index in the source video of each frame.
        frame_times: When each frame appears, seconds from the start of the clip: of the video, or of the span of it.
        moments: The second that each frame was taken for, on the same clock; it is on the screen then.
        duration: When the clip ends on that clock, seconds.
        usual_still, longest_still: How long a frame of the source stays on the screen within the clip, seconds: half of
            them shorter, half of them longer, and the longest.
        sampled_fps: Frames per second of video among `frames`.
        seconds_per_grid: Seconds of video in one temporal patch, as both engines are told.
        temporal_patch_size: Frames in one temporal patch.
        digest: Identifies the pixels and their times: files, their sizes and modification times, contract, span, frame
            rate and frames. Never empty.
    """

    frames: np.ndarray
    frame_indices: tuple[int, ...]
    frame_times: tuple[float, ...]
    moments: tuple[float, ...]
    duration: float
    sampled_fps: float
    seconds_per_grid: float
    temporal_patch_size: int
    digest: str
    usual_still: float = 0.0
    longest_still: float = 0.0

    @property
    def starts_at(self) -> float:
        """When the policy's clock starts on the clip's, seconds: engines count from the first frame on."""
        return self.moments[0]

    def times_of(self, box_frames: Sequence[int]) -> tuple[float, ...]:
        """When the box frames appear, all of them frames of the clip; seconds from the first of them."""
        times = dict(zip(self.frame_indices, self.frame_times, strict=True))
        return tuple(times[frame] - times[box_frames[0]] for frame in box_frames)

    @property
    def deviation(self) -> float:
        """Largest distance of a frame's moment from the one that the engines are told, seconds."""
        spacing = self.seconds_per_grid / self.temporal_patch_size
        told = (self.moments[0] + number * spacing for number in range(len(self.moments)))
        return max(abs(moment - its) for moment, its in zip(self.moments, told, strict=True))

    @property
    def nbytes(self) -> int:
        """Size of the pixels, bytes."""
        return self.frames.nbytes


def decode_clip(
    path: str,
    contract: SamplingContract,
    box_frames: Sequence[int] = (),
    span: Span | None = None,
    frame_rate: float | None = None,
) -> Clip:
    """Decode in this process, with one thread.

    Args:
        path: A video file, a folder of images or an image. An image is a video of one temporal patch that stands still.
        contract: Chooses the frames and their size.
        box_frames: Frames of the source video that the prompt's boxes belong to, in order of presentation.
        span: The part of the video to sample from; what reaches past its end is cut.
        frame_rate: Frames per second of a folder of images; other paths say when their frames are.

    Raises:
        ClipError: no such file, neither video nor images, damaged or cut short, larger than `data.limits` allows,
            nothing within the span, or not what the contract can sample from.
        MemoryError: this process may not have the memory that it takes.
    """
    try:
        if reason := foreign_content(path):
            raise ClipError(path, reason)
        try:
            return _decode(open_source(path, contract, frame_rate), path, contract, box_frames, span)
        except UnconfirmedFrames:
            source = open_source(path, contract, frame_rate, in_order=True)
            return _decode(source, path, contract, box_frames, span)
    # ValueError is what sources and contract raise for what they cannot use; the others come from damaged numbers.
    except (ValueError, ArithmeticError, RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        # Of a picture in a folder the name says which; the path of one alone is told with the error.
        raise ClipError(path, reason.removeprefix(f"{os.path.basename(path)}: ")) from error


def _decode(
    source: FrameSource, path: str, contract: SamplingContract, box_frames: Sequence[int], span: Span | None
) -> Clip:
    require_time(source.times[0], source.end)
    require_rate(source.times)
    first, times, end = _within(span, source)
    choice = contract.choose_frames(times, end, [frame - first for frame in box_frames])
    indices = [first + index for index in choice.indices]
    stays = np.diff(times, append=end)
    return Clip(
        frames=_read_frames(source, indices, contract),
        frame_indices=tuple(indices),
        frame_times=tuple(float(times[index]) for index in choice.indices),
        moments=choice.moments,
        duration=end,
        sampled_fps=choice.sampled_fps,
        seconds_per_grid=contract.seconds_per_grid(choice.sampled_fps),
        temporal_patch_size=contract.temporal_patch_size,
        digest=_digest(path, source.identity(indices), contract, span, indices),
        usual_still=float(np.median(stays)),
        longest_still=float(stays.max()),
    )


def _within(span: Span | None, source: FrameSource) -> tuple[int, np.ndarray, float]:
    """First frame of a span, and the times of its frames and of its end from the start of the span on.

    The first frame is the one on the screen when the span starts: for the clip it appears at 0.
    """
    if span is None:
        return 0, source.times, source.end
    start, stop = span[0], min(span[1], source.end)
    if start >= source.end - FRAME_TOLERANCE:
        raise ValueError(f"the span {list(span)} starts past the end at {source.end:.2f} s")
    if stop - FRAME_TOLERANCE <= source.times[0]:
        raise ValueError(f"the span {list(span)} ends before the picture starts, at {source.times[0]:.2f} s")
    first = max(0, int(np.searchsorted(source.times, start + FRAME_TOLERANCE, side="right")) - 1)
    beyond = int(np.searchsorted(source.times, stop - FRAME_TOLERANCE))
    return first, np.maximum(source.times[first:beyond] - start, 0.0), stop - start


def _read_frames(source: FrameSource, indices: Sequence[int], contract: SamplingContract) -> np.ndarray:
    """The frames at one size. They may change theirs midway, as streams do that adapt to the connection.

    Raises:
        ValueError: they change their shape too, and would be distorted.
    """
    frames: np.ndarray | None = None
    for number, frame in enumerate(source.read(indices)):
        if frames is None:
            shown = round(frame.shape[1] * source.pixel_aspect)
            size = contract.choose_size(frame.shape[0], shown, len(indices))
            frames, (height, width) = np.empty((len(indices), *size, 3), dtype=np.uint8), frame.shape[:2]
        if abs(frame.shape[1] * height / (frame.shape[0] * width) - 1) > SHAPE_TOLERANCE:
            raise ValueError(
                f"its frames change from {width} x {height} to {frame.shape[1]} x {frame.shape[0]} pixels: "
                "split it where they do"
            )
        frames[number] = resize_frame(frame, frames.shape[1], frames.shape[2])
    assert frames is not None, "the contract chose no frames"
    return frames


def resize_frame(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic with antialiasing, uint8 `[h, w, 3]` to `[height, width, 3]`."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def _digest(
    path: str,
    files: tuple[object, ...],
    contract: SamplingContract,
    span: Span | None,
    indices: Sequence[int],
) -> str:
    identity = (os.path.abspath(path), files, contract, span, tuple(indices))
    return hashlib.sha256(repr(identity).encode()).hexdigest()
