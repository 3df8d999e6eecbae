"""Where frames come from: a video file, read by decord, or images, read by Pillow; numbered frames either way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
# macOS writes such a file beside each of its own, on disks of other systems and in archives: `._a.mp4`.
APPLE_DOUBLE = "._"
# Frames held at their full size at a time: a long clip at full size would not fit in memory.
FRAMES_AT_ONCE = 8

_DIGITS = re.compile(r"(\d+)")


class FrameSource(Protocol):
    """A video as numbered frames, evenly spaced in time.

    Attributes:
        fps: Frames per second.
    """

    fps: float

    def __len__(self) -> int:
        """How many frames there are."""

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at these indices, in order, at their full size: uint8 `[h, w, 3]`, RGB."""

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        """What tells these frames from any others: files, their sizes and modification times."""


class VideoFile:
    """A video file. decord reads it, with one thread, and raises its own errors for what it cannot read."""

    def __init__(self, path: str) -> None:
        import decord

        self._path = path
        self._status = os.stat(path)
        self._reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        self.fps = float(self._reader.get_avg_fps())

    def __len__(self) -> int:
        return len(self._reader)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), FRAMES_AT_ONCE):
            yield from self._reader.get_batch(list(indices[start : start + FRAMES_AT_ONCE])).asnumpy()

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        return (self._path, self._status.st_mtime_ns, self._status.st_size)


class ImageFrames:
    """Images in the order of their names, or one image that stands still.

    Args:
        path: A folder of images, or an image.
        fps: Frames per second; an image that stands still may have any.
        still_frames: How many frames an image that stands still has.

    Raises:
        ValueError: a folder without images, or without a frame rate.
    """

    def __init__(self, path: str, fps: float | None, default_fps: float, still_frames: int) -> None:
        if os.path.isdir(path):
            self._files = list_images(Path(path))
            if not self._files:
                raise ValueError("the folder holds no images")
            if fps is None:
                raise ValueError("a folder of images needs frame_rate in its annotation")
        else:
            self._files = [Path(path)] * still_frames
        self.fps = fps or default_fps

    def __len__(self) -> int:
        return len(self._files)

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """As `FrameSource.read`. Raises `ValueError` for a file that is no image or a damaged one."""
        return (read_image(self._files[index]) for index in indices)

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        files = [self._files[index] for index in indices]
        stats = [file.stat() for file in files]
        return tuple((str(file), s.st_mtime_ns, s.st_size) for file, s in zip(files, stats, strict=True)) + (
            self.fps,
        )


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names, 2.jpg before 10.jpg."""
    found = (Path(entry.path) for entry in os.scandir(folder))
    images = [
        path
        for path in found
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(APPLE_DOUBLE)
    ]
    return sorted(images, key=lambda path: _natural(path.name))


def read_image(path: Path) -> np.ndarray:
    """uint8 `[h, w, 3]`, RGB.

    Raises:
        ValueError: it is no image, damaged, or of absurd size.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    # What Pillow raises for damaged files: SyntaxError is its own for a broken PNG.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "is no image" if isinstance(error, UnidentifiedImageError) else f"damaged: {error}"
        raise ValueError(f"{path.name}: {reason}") from error


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key that puts numbers inside names in the order of their values."""
    parts = _DIGITS.split(name)
    return [(1, int(part)) if part.isdecimal() else (0, part) for part in parts]
