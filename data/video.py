"""Decoding: a video file to the frames that the sampling contract chooses, resized, with what must be known of them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data.sampling import SamplingContract

if TYPE_CHECKING:
    from decord import VideoReader

# Frames held at their full size at a time: a long clip at full size would not fit in memory.
FRAMES_AT_ONCE = 8


class ClipError(Exception):
    """A clip that cannot be used.

    Attributes:
        path: The video file.
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
        total_frames: Frames in the source video.
        digest: Identifies the pixels: file, its size and modification time, contract and frames. Never empty.
    """

    frames: np.ndarray
    frame_indices: tuple[int, ...]
    sampled_fps: float
    seconds_per_grid: float
    temporal_patch_size: int
    native_fps: float
    total_frames: int
    digest: str

    @property
    def duration(self) -> float:
        """Length of the source video, seconds."""
        return self.total_frames / self.native_fps

    @property
    def frame_times(self) -> tuple[float, ...]:
        """When each frame is in the source video, seconds; told to the engines as evenly spaced."""
        return tuple(index / self.native_fps for index in self.frame_indices)

    @property
    def nbytes(self) -> int:
        """Size of the pixels, bytes."""
        return self.frames.nbytes


def decode_clip(path: str, contract: SamplingContract, box_frames: Sequence[int] = ()) -> Clip:
    """Decode in this process, with decord (one thread).

    Frames are taken to be evenly spaced in time. In files with open groups of pictures, which few encoders write unless
    asked to, decord's seeking can be a few frames off.

    Args:
        path: A video file.
        contract: Chooses the frames and their size.
        box_frames: Frames of the source video that the prompt's boxes belong to.

    Raises:
        ClipError: no such file, an empty file, not a video, cut short, or not what the contract can sample from.
    """
    status = _status(path)
    try:
        return _decode(path, status, contract, box_frames)
    except _decoder_errors() as error:
        raise ClipError(path, _reason(error)) from error


def _status(path: str) -> os.stat_result:
    try:
        status = os.stat(path)
    except OSError as error:
        raise ClipError(path, error.strerror or str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise ClipError(path, "is a folder, not a video file")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise ClipError(path, "the file is empty (zero bytes)")
    return status


def _decode(path: str, status: os.stat_result, contract: SamplingContract, box_frames: Sequence[int]) -> Clip:
    import decord

    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    native_fps, total_frames = float(reader.get_avg_fps()), len(reader)
    indices, sampled_fps = contract.choose_frames(total_frames, native_fps, box_frames)
    return Clip(
        frames=_read_frames(reader, indices, contract),
        frame_indices=tuple(indices),
        sampled_fps=sampled_fps,
        seconds_per_grid=contract.seconds_per_grid(sampled_fps),
        temporal_patch_size=contract.temporal_patch_size,
        native_fps=native_fps,
        total_frames=total_frames,
        digest=_digest(path, status, contract, indices),
    )


def _read_frames(reader: VideoReader, indices: Sequence[int], contract: SamplingContract) -> np.ndarray:
    frames: np.ndarray | None = None
    for number, frame in enumerate(_full_frames(reader, indices)):
        if frames is None:
            height, width = contract.choose_size(frame.shape[0], frame.shape[1], len(indices))
            frames = np.empty((len(indices), height, width, 3), dtype=np.uint8)
        frames[number] = resize_frame(frame, frames.shape[1], frames.shape[2])
    assert frames is not None, "the contract chose no frames"
    return frames


def _full_frames(reader: VideoReader, indices: Sequence[int]) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), FRAMES_AT_ONCE):
        yield from reader.get_batch(list(indices[start : start + FRAMES_AT_ONCE])).asnumpy()


def resize_frame(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic with antialiasing, uint8 `[h, w, 3]` to `[height, width, 3]`."""
    if frame.shape[:2] == (height, width):
        return frame
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC))


def _digest(path: str, status: os.stat_result, contract: SamplingContract, indices: Sequence[int]) -> str:
    identity = (os.path.abspath(path), status.st_mtime_ns, status.st_size, contract, tuple(indices))
    return hashlib.sha256(repr(identity).encode()).hexdigest()


def _decoder_errors() -> tuple[type[Exception], ...]:
    """What decord and the contract raise for a file they cannot use; decord asserts that there are frames."""
    from decord import DECORDError

    errors: Any = (DECORDError, RuntimeError, ValueError, AssertionError)
    return errors


def _reason(error: Exception) -> str:
    """What to tell the reader: the contract's words, or decord's without its clock and source locations."""
    if isinstance(error, ValueError):
        return str(error)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if first.startswith("Error reading"):
        return "cannot be opened as a video: damaged or cut short"
    return "cannot be decoded, damaged or cut short: " + re.sub(r"\[\d\d:\d\d:\d\d\] \S+?:\d+: ", "", first)
