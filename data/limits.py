"""How much of anything is read. What claims to hold more is refused by its header, before memory is taken for it.

They are far above what videos and datasets have. Change them here if yours have more; those of files of text, which
rewards are read from too, are in `rewards.files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class TooLarge(ValueError):
    """More than is read; the message says of what."""


# A frame of a video: the largest of HEVC's level 6.2 and AV1's level 6.3, 8192 x 4352, which 8K is within.
MAX_VIDEO_PIXELS = 8192 * 4352
# An image, or a frame of an animated one; the longest of its sides; and all frames of an animation together.
MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE = 2**27, 2**16
MAX_ANIMATION_PIXELS = 2**32
MAX_PAGES = 1000
# Frames of a video, a day at 60 per second; frames per second; and how long it may be, seconds: a week.
MAX_FRAMES = 24 * 3600 * 60
MAX_FPS = 10_000.0
MAX_SECONDS = 7 * 24 * 3600.0
# Address space of a process that decodes, bytes. 8K takes 0.9 GiB as H.264, 1.4 with 16 reference frames, and 1.1 as
# HEVC.
MAX_DECODER_BYTES = 4 * 2**30
# A configuration, bytes; `data.yaml_text` bounds its characters, values and levels.
MAX_YAML_BYTES = 2**20
# Lists and objects within each other.
MAX_NESTING = 64


def require_pixels(width: int, height: int, most: int, side: int = MAX_IMAGE_SIDE) -> None:
    """Raises `TooLarge` if a frame is larger than `most` pixels, or longer than `side`."""
    if width * height > most:
        raise TooLarge(
            f"its size is {width} x {height}, more than {most / 1e6:.1f} million pixels: shrink it"
        )
    if max(width, height) > side:
        raise TooLarge(f"its size is {width} x {height}, a side longer than {side} pixels: cut it")


def require_time(start: Fraction | float, end: Fraction | float) -> None:
    """Raises `TooLarge` if a video is longer than `MAX_SECONDS`, or has no length.

    Args:
        start: When its first frame appears, seconds.
        end: When its last one leaves the screen, seconds.
    """
    if not max(end, end - start) <= MAX_SECONDS:
        days = MAX_SECONDS / 86400
        raise TooLarge(
            f"its times go from {float(start):.6g} to {float(end):.6g} s, more than {days:g} days: cut it"
        )


def require_rate(times: np.ndarray) -> None:
    """Raises `TooLarge` if there are more frames per second than `MAX_FPS`: their times must be wrong."""
    if len(times) - 1 > MAX_FPS * (times[-1] - times[0]):
        seconds = float(times[-1] - times[0])
        raise TooLarge(f"has {len(times):,} frames within {seconds:.6g} s: its frame rate must be wrong")


def at_most(most: int, items: Iterable[T], what: str) -> Iterator[T]:
    """The items. Raises `TooLarge` when there are more than `most`."""
    for number, item in enumerate(items):
        if number == most:
            raise TooLarge(f"holds more than {most:,} {what}: cut it")
        yield item


def reason_of(error: Exception) -> str:
    """Why a path cannot be used, with its name once and no number of an error: `a.jsonl: No such file or directory`."""
    if isinstance(error, IsADirectoryError):
        return f"{error.filename}: is a folder, where a file is wanted"
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
