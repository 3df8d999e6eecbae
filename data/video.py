"""Decoding: a video to the frames that the sampling contract chooses, resized, with what must be known of them."""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from data.frame_sources import IMAGE_SUFFIXES, FrameSource, ImageFrames, VideoFile
from data.sampling import SamplingContract

# A part of a video in seconds, the start in it and the end not.
Span = tuple[float, float]
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
        sampled_fps: Frames per second of video among `frames`.
        seconds_per_grid: Seconds of video in one temporal patch, as both engines are told.
        temporal_patch_size: Frames in one temporal patch.
        native_fps: Frames per second of the source video.
        total_frames: Frames in the source video, or in the span of it that was asked for.
        digest: Identifies the pixels and their times: files, their sizes and modification times, contract, span, frame
            rate and frames. Never empty.
        first_frame: Index in the source video of the frame that the clip's clock starts at; 0 without a span.
    """

    frames: np.ndarray
    frame_indices: tuple[int, ...]
    sampled_fps: float
    seconds_per_grid: float
    temporal_patch_size: int
    native_fps: float
    total_frames: int
    digest: str
    first_frame: int = 0

    @property
    def duration(self) -> float:
        """Length of the source video, or of the span of it, seconds."""
        return self.total_frames / self.native_fps

    @property
    def frame_times(self) -> tuple[float, ...]:
        """When each frame is, seconds from the start of the clip; told to the engines as evenly spaced."""
        return tuple((index - self.first_frame) / self.native_fps for index in self.frame_indices)

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
    """Decode in this process: a video file with decord (one thread), images with Pillow.

    Frames are taken to be evenly spaced in time. In files with open groups of pictures, which few encoders write unless
    asked to, decord's seeking can be a few frames off.

    Args:
        path: A video file, a folder of images or an image. An image is a video of one temporal patch that stands still.
        contract: Chooses the frames and their size.
        box_frames: Frames of the source video that the prompt's boxes belong to.
        span: The part of the video to sample from; what reaches past its end is cut.
        frame_rate: Frames per second of a folder of images; a video file says so itself.

    Raises:
        ClipError: no such file, an empty file, neither video nor images, cut short, nothing within the span, or not
            what the contract can sample from.
    """
    _require_content(path)
    try:
        return _decode(_open(path, contract, frame_rate), path, contract, box_frames, span)
    except _decoder_errors() as error:
        raise ClipError(path, _reason(error)) from error


def _require_content(path: str) -> None:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise ClipError(path, getattr(error, "strerror", None) or str(error)) from error
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise ClipError(path, "the file is empty (zero bytes)")


def _open(path: str, contract: SamplingContract, frame_rate: float | None) -> FrameSource:
    if os.path.isdir(path) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES:
        return ImageFrames(path, frame_rate, contract.fps, contract.temporal_patch_size)
    return VideoFile(path)


def _decode(
    source: FrameSource, path: str, contract: SamplingContract, box_frames: Sequence[int], span: Span | None
) -> Clip:
    first, stop = _frames_within(span, len(source), source.fps)
    chosen, sampled_fps = contract.choose_frames(
        stop - first, source.fps, [frame - first for frame in box_frames]
    )
    indices = [first + index for index in chosen]
    return Clip(
        frames=_read_frames(source, indices, contract),
        frame_indices=tuple(indices),
        sampled_fps=sampled_fps,
        seconds_per_grid=contract.seconds_per_grid(sampled_fps),
        temporal_patch_size=contract.temporal_patch_size,
        native_fps=source.fps,
        total_frames=stop - first,
        digest=_digest(path, source.identity(indices), contract, span, indices),
        first_frame=first,
    )


def _frames_within(span: Span | None, total_frames: int, fps: float) -> tuple[int, int]:
    """First frame of a span and the one after its last; a frame is shown from `index / fps` on."""
    if span is None:
        return 0, total_frames
    first, stop = (math.ceil(min(second * fps, total_frames) - FRAME_TOLERANCE) for second in span)
    if first >= total_frames:
        raise ValueError(f"the span {list(span)} starts past the end at {total_frames / fps:.2f} s")
    return first, stop


def _read_frames(source: FrameSource, indices: Sequence[int], contract: SamplingContract) -> np.ndarray:
    frames: np.ndarray | None = None
    for number, frame in enumerate(source.read(indices)):
        if frames is None:
            height, width = contract.choose_size(frame.shape[0], frame.shape[1], len(indices))
            frames = np.empty((len(indices), height, width, 3), dtype=np.uint8)
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


def _decoder_errors() -> tuple[type[Exception], ...]:
    """What the sources and the contract raise for what they cannot use; decord asserts that there are frames."""
    from decord import DECORDError

    errors: Any = (DECORDError, RuntimeError, ValueError, AssertionError, OSError)
    return errors


def _reason(error: Exception) -> str:
    """What to tell the reader: the contract's words, or decord's without its clock and source locations."""
    if isinstance(error, ValueError):
        return str(error)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if first.startswith("Error reading"):
        return "cannot be opened as a video: damaged or cut short"
    return "cannot be decoded, damaged or cut short: " + re.sub(r"\[\d\d:\d\d:\d\d\] \S+?:\d+: ", "", first)
