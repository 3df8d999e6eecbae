"""Frames from images, read by Pillow: a folder of them, one that stands still, or one that is animated."""

from __future__ import annotations

import math
import os
import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from data.animated_png import animated_png_frames
from data.file_kind import foreign_content, picture_kind
from data.limits import (
    MAX_ANIMATION_PIXELS,
    MAX_FRAMES,
    MAX_IMAGE_PIXELS,
    MAX_IMAGE_SIDE,
    MAX_PAGES,
    MAX_VIDEO_PIXELS,
    TooLarge,
    at_most,
    require_pixels,
)
from data.pixels import UnsuitableImage, on_white

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".gif"})
# How long a frame of an animation is shown where the file says 0, seconds: so do browsers, and FFmpeg with GIFs
# (libavformat/gifdec.c). A delay of 10 ms stands, as it does in FFmpeg, though browsers show such a frame longer too.
USUAL_DELAY_S = 0.1

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "AVIF", "GIF")
# A JPEG may hold several pictures too, and a TIFF pages: neither is shown one after the other.
_ANIMATED_FORMATS = frozenset({"PNG", "WEBP", "AVIF", "GIF"})
# TIFF's tag NewSubfileType; its bits for what only goes with another page: a smaller copy, and a mask.
_SUBFILE_TYPE, _ACCOMPANIES = 254, 1 | 4
# What Pillow raises for damaged files.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, RuntimeError, EOFError, LookupError, ArithmeticError),
    *(struct.error, zlib.error),
)

_DIGITS = re.compile(r"(\d+)")


class ImageFrames:
    """Images as a `FrameSource`: a folder, each image a frame; an image that stands still; or an animation.

    The times of an animated PNG, WebP or AVIF are the file's own. An animated GIF is refused: it is read as a video.

    Args:
        path: A folder of images, or an image.
        fps: Frames per second of a folder; not asked of an image.
        default_fps: Frames per second of an image that stands still.
        still_frames: How many frames an image that stands still has.

    Raises:
        ValueError: a folder without images or without a frame rate; an image that cannot be read, as `read_image` says.
    """

    # How a file of pictures says that its pixels are not square is for printers, and viewers show them square.
    pixel_aspect = 1.0

    def __init__(self, path: str, fps: float | None, default_fps: float, still_frames: int) -> None:
        self._animated = False
        if os.path.isdir(path):
            self._files = list_images(Path(path))
            starts = np.arange(len(self._files) + 1) / _folder_rate(self._files, fps)
        elif delays := _delays(Path(path)):
            self._animated = True
            self._files = [Path(path)] * len(delays)
            # Sums of decimal fractions are off in their last digits.
            starts = np.round([0.0, *accumulate(delays)], 6)
        else:
            self._files = [Path(path)] * still_frames
            starts = np.arange(still_frames + 1) / default_fps
        self.times: np.ndarray = starts[:-1]
        self.end = float(starts[-1])

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """As `FrameSource.read`. Raises `ValueError` as `read_image`."""
        if self._animated:
            return _read_animation(self._files[0], indices)
        return (read_image(self._files[index]) for index in indices)

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        files = [self._files[index] for index in indices]
        stats = [file.stat() for file in files]
        return (
            *((str(file), s.st_mtime_ns, s.st_size) for file, s in zip(files, stats, strict=True)),
            *(float(self.times[index]) for index in indices),
            self.end,
        )


def list_images(folder: Path) -> list[Path]:
    """The images of a folder in the order of their names, 2.jpg before 10.jpg.

    Hidden files are passed over, among them the resource files `._NAME` that macOS leaves beside NAME.
    """
    images = [
        Path(entry.path)
        for entry in at_most(MAX_FRAMES, os.scandir(folder), "files")
        if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES
        and not entry.name.startswith(".")
        and not entry.is_dir()
    ]
    return sorted(images, key=lambda path: (_natural(path.name), path.name))


def read_image(path: Path) -> np.ndarray:
    """One picture as a viewer shows it, uint8 `[h, w, 3]`, RGB; see `data.pixels.on_white`.

    Raises:
        ValueError: the file is no image, damaged, too large, animated, a TIFF of several pages, or of values that have
            no known brightness; the message says which, and names the file.
    """
    with _opened(path) as image:
        if (frames := _count_frames(image)) > 1:
            raise UnsuitableImage(
                f"is an animation of {frames} frames, where one picture is wanted: save its frames as files"
            )
        return on_white(image)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is stored, pixels. Raises `ValueError` as `read_image`."""
    with _opened(path) as image:
        return image.size


def _folder_rate(files: Sequence[Path], fps: float | None) -> float:
    if not files:
        raise ValueError("the folder holds no images")
    if fps is None:
        raise ValueError("a folder of images needs frame_rate in its annotation")
    if not (fps > 0 and math.isfinite(fps)):
        raise ValueError(f"the frame rate is {fps}")
    return fps


def _delays(path: Path) -> list[float]:
    """How long each frame of an animation is shown, seconds; nothing for an image that stands still."""
    with _opened(path) as image:
        if _count_frames(image) == 1:
            return []
        if image.format == "GIF":  # Pillow puts back the wrong picture where a frame is to be taken off again
            raise UnsuitableImage("is an animated GIF, which is read as a video")
        require_pixels(*image.size, MAX_VIDEO_PIXELS)
        if _count_frames(image) * image.width * image.height > MAX_ANIMATION_PIXELS:
            most = MAX_ANIMATION_PIXELS / 1e6
            raise TooLarge(
                f"its frames have more than {most:,.0f} million pixels together: convert it to a video"
            )
        delays = [delay or USUAL_DELAY_S for delay, _ in _animation(path, image)]
        if min(delays) < 0:
            raise ValueError("its frames are not in the order of their times")
        return delays


def _read_animation(path: Path, indices: Sequence[int]) -> Iterator[np.ndarray]:
    wanted = Counter(indices)
    with _opened(path) as image:
        for number, (_, picture) in enumerate(islice(_animation(path, image), max(indices) + 1)):
            if number in wanted:
                yield from [on_white(picture)] * wanted[number]


def _animation(path: Path, image: Image.Image) -> Iterator[tuple[float, Image.Image]]:
    """The delay that the file gives, seconds, and the picture of each frame."""
    if image.format == "PNG":
        for delay, picture in animated_png_frames(path.read_bytes()):
            picture.info["exif"] = image.info.get("exif")
            yield delay, picture
        return
    end = 0
    for number in range(_count_frames(image)):
        image.seek(number)
        image.load()
        # Where Pillow gives the time, its delay is rounded, and a sum of delays would drift.
        start, end = end, image.info.get("timestamp", end) + image.info.get("duration", 0)
        yield (end - start) / 1000, image


def _count_frames(image: Image.Image) -> int:
    """How many frames an animation has; 1 of what is none, though it may hold several pictures."""
    if image.format not in _ANIMATED_FORMATS:
        return 1
    # A PNG's picture for viewers without animation is no frame of it.
    return getattr(image, "n_frames", 1) - bool(getattr(image, "default_image", False))


def _choose_page(image: Image.Image) -> None:
    """Go to the one page of a TIFF that is a picture of its own."""
    pages = []
    for page in range(MAX_PAGES + 1):
        try:
            image.seek(page)
        except EOFError:
            break
        if page == MAX_PAGES:
            raise UnsuitableImage(f"is a TIFF of more than {MAX_PAGES} pages: save each page as a file")
        if not getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _ACCOMPANIES:
            pages.append(page)
    if len(pages) > 1:
        raise UnsuitableImage(f"is a TIFF of {len(pages)} pages: save each page as a file")
    image.seek(pages[0] if pages else 0)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image that Pillow opens, and a `ValueError` with the true reason for what goes wrong with it."""
    try:
        problem = foreign_content(path)
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error
    if problem:
        raise ValueError(f"{path.name}: {problem}")
    try:
        # Given the path, Pillow maps a plain TIFF into memory in the wrong shape where it has to be turned.
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as image:
            if image.format == "TIFF":
                _choose_page(image)
            require_pixels(*image.size, MAX_IMAGE_PIXELS, MAX_IMAGE_SIDE)
            yield image
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name}: {_reason(path, error)}") from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, (UnsuitableImage, TooLarge)):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        # "Image size (3 pixels) exceeds limit of 2 pixels, could be ..."
        return f"too large: {str(error).split(',')[0]}"
    if not isinstance(error, UnidentifiedImageError):
        return f"{'cannot be read' if 'nsupported' in str(error) else 'damaged'}: {error}"
    kind = picture_kind(path)
    if kind is None:
        return "is no image of a kind that is read: JPEG, PNG, BMP, WebP, TIFF, AVIF or GIF"
    # Of the others, Pillow knows every kind.
    return (
        f"damaged, or an unusual {kind}"
        if kind in {"BMP", "TIFF"}
        else f"damaged: a {kind} without a valid header"
    )


def _natural(name: str) -> list[tuple[int, int | str]]:
    """A key that puts numbers inside names in the order of their values."""
    parts = _DIGITS.split(name)
    return [(1, int(part)) if part.isdecimal() else (0, part) for part in parts]
