"""Where frames come from, and which reader serves which path.

- A folder is read by `ImageFrames`: its pictures are frames at the frame rate of the annotation.
- A picture, which its content says it is (JPEG, PNG, BMP, WebP, TIFF, AVIF), is read by `ImageFrames`: Pillow knows
  orientation, 16 bits, and animations with their delays.
- Everything else is read by `VideoFile`: PyAV tells the presentation time of each frame that it gives.

One reader serves all video files. decord is faster nowhere (`python -m benchmarks.decode`), does not say which frame it
gives, and is wrong after a seek in AVI, ASF, MPEG-PS, MPEG-TS and in MKV with open groups of pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from data.file_kind import is_image
from data.image_frames import ImageFrames
from data.sampling import SamplingContract
from data.video_file import VideoFile


class FrameSource(Protocol):
    """A video as numbered frames, each with its time.

    Attributes:
        times: float64 `[n]`, when each frame appears, seconds from the start of the video, ascending. The start is that
            of a player's clock: where the first of picture and sound starts.
        end: When the last frame leaves the screen, seconds on the same clock.
        pixel_aspect: Width over height of one pixel.
    """

    times: np.ndarray
    end: float
    pixel_aspect: float

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at ascending indices, of which some may be equal, as a player shows them.

        Each is upright, on white, at its full size: uint8 `[h, w, 3]`, RGB.
        """

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        """What tells these frames from any others: files, their sizes and modification times."""


def open_source(
    path: str, contract: SamplingContract, frame_rate: float | None, in_order: bool = False
) -> FrameSource:
    """The reader of a path.

    Args:
        frame_rate: Frames per second of a folder of pictures.
        in_order: Read a video file from its start; see `VideoFile`.

    Raises:
        ValueError: nothing that can be shown, with the reason.
        UnconfirmedFrames: the video file must be read in order.
        OSError: the path cannot be read.
    """
    if os.path.isdir(path) or is_image(path):
        return ImageFrames(path, frame_rate, contract.fps, contract.temporal_patch_size)
    return VideoFile(path, in_order)
