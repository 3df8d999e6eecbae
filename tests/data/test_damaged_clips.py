"""Whatever bytes stand in a clip, it decodes to frames with times or is refused in one line, and soon.

The long versions run by name: `python -m pytest -m slow tests/data/test_damaged_clips.py`.
"""

from __future__ import annotations

import io
import math
import random
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract
from data.video import ClipError
from tests.clips import Recipe, Sound, draw_number, evenly, write_clip
from tests.damage import damaged

# Of a clip that takes 50 ms when it is whole: far more than it may take on a busy machine.
DEADLINE_S = 4.0
TIMES = evenly(2.4, 10)
RECIPES = {
    "mp4": Recipe(".mp4", TIMES, 2.4, sound=Sound(0, 1), options={"g": "8"}),
    "fragments": Recipe(".mp4", TIMES, 2.4, mux_options={"movflags": "frag_keyframe+empty_moov"}),
    "mkv": Recipe(".mkv", TIMES, 2.4, options={"g": "8"}),
    "webm": Recipe(".webm", TIMES, 2.4, codec="libvpx-vp9", options={"deadline": "realtime"}),
    "avi": Recipe(".avi", TIMES, 2.4, codec="mpeg4", time_base=Fraction(1, 10)),
    "ts": Recipe(".ts", TIMES, 2.4),
    "mpg": Recipe(
        ".mpg", evenly(2.4, 25), 2.4, codec="mpeg2video", rate=Fraction(25), time_base=Fraction(1, 25)
    ),
    "flv": Recipe(".flv", TIMES, 2.4),
    "wmv": Recipe(".wmv", TIMES, 2.4, codec="wmv2", time_base=Fraction(1, 1000)),
    "gif": Recipe(".gif", TIMES, 2.4, codec="gif", pix_fmt="rgb8", time_base=Fraction(1, 100)),
}
KINDS = {
    "jpg": ("JPEG", {}),
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {"lossless": True}),
    "tif": ("TIFF", {"compression": "tiff_lzw"}),
    "avif": ("AVIF", {}),
    "moving png": ("PNG", {"moves": True}),
    "moving webp": ("WEBP", {"moves": True}),
    "moving avif": ("AVIF", {"moves": True}),
}


def picture(kind: str, moves: bool = False, **options: object) -> bytes:
    first, *rest = (Image.fromarray(draw_number(number)) for number in range(6))
    animation = {"save_all": True, "append_images": rest, "duration": 100} if moves else {}
    first.save(file := io.BytesIO(), kind, **animation, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    return [
        (recipe.suffix, write_clip(recipe, tmp_path_factory.mktemp(name)).read_bytes())
        for name, recipe in RECIPES.items()
    ]


@pytest.fixture(scope="module")
def images() -> list[tuple[str, bytes]]:
    return [(f".{name.split()[-1]}", picture(kind, **options)) for name, (kind, options) in KINDS.items()]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(SamplingContract(max_frames=8)) as isolated:
        yield isolated


def outcome(decoder: IsolatedDecoder, path: Path, said: str) -> tuple[bool, float]:
    """Whether a clip came of it, and the seconds that it took. Fails where it is neither a clip nor a reason."""
    started = time.monotonic()
    try:
        clip = decoder.decode(str(path))
    except ClipError as error:
        reason = error.reason
        assert reason.strip() and reason.isprintable(), f"{said}: {reason!r}"
        assert "exit code 1" not in reason and "not decoded within" not in reason, f"{said}: {reason}"
        found = False
    else:
        assert clip.frames.dtype == np.uint8 and clip.frames.ndim == 4 and min(clip.frames.shape) > 0, said
        assert all(map(math.isfinite, (clip.duration, clip.sampled_fps, *clip.frame_times, *clip.moments))), (
            said
        )
        assert all(earlier <= later for earlier, later in pairwise(clip.frame_times)), said
        assert clip.frame_times[0] >= 0 and clip.frame_times[-1] <= clip.duration, said
        assert clip.sampled_fps > 0 and clip.duration > 0, said
        found = True
    return found, time.monotonic() - started


def fuzz(
    decoder: IsolatedDecoder, folder: Path, clips: list[tuple[str, bytes]], cases: Sequence[int]
) -> None:
    """Damage the clips in turn, each case by its own seed, and print what came of it."""
    contents, decoded, slowest = [content for _, content in clips], 0, (0.0, "")
    for case in cases:
        suffix, content = clips[case % len(clips)]
        path = folder / f"clip{suffix}"
        path.write_bytes(damaged(content, contents, random.Random(case)))
        found, seconds = outcome(decoder, path, f"case {case} ({suffix})")
        decoded, slowest = decoded + found, max(slowest, (seconds, f"case {case} ({suffix})"))
    print(f"{len(cases)} cases: {decoded} clips; the slowest took {slowest[0]:.2f} s: {slowest[1]}")
    assert slowest[0] < DEADLINE_S, slowest
    assert 0 < decoded < len(cases), "the damage leaves some clips whole and others not"


# In the last one of the videos, a frame was told to be before second 0.
SHORT = (*range(100), 1932)
LONG = pytest.param(range(1000, 3000), marks=pytest.mark.slow)


@pytest.mark.parametrize("cases", [SHORT, LONG])
def test_damaged_videos(
    decoder: IsolatedDecoder, tmp_path: Path, videos: list[tuple[str, bytes]], cases: Sequence[int]
) -> None:
    fuzz(decoder, tmp_path, videos, cases)


@pytest.mark.parametrize("cases", [SHORT, LONG])
def test_damaged_images(
    decoder: IsolatedDecoder, tmp_path: Path, images: list[tuple[str, bytes]], cases: Sequence[int]
) -> None:
    fuzz(decoder, tmp_path, images, cases)


def test_whole_clips_are_clips(
    decoder: IsolatedDecoder, tmp_path: Path, videos: list[tuple[str, bytes]], images: list[tuple[str, bytes]]
) -> None:
    for suffix, content in videos + images:
        (tmp_path / f"clip{suffix}").write_bytes(content)
        assert outcome(decoder, tmp_path / f"clip{suffix}", suffix)[0]
