"""Clips whose pictures say which picture they are: every container, codec and clock that PyAV's encoders make.

Each picture is a grid of grey blocks that spells the number of the picture. `read_number` either returns exactly that
number or raises an error: it never returns a number that is a little wrong. The second of a picture therefore has no
error of its own: it is the second that the generator gave to this number.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

# The grid has a row of blocks per line: two rows of bits, and below them two rows of the opposite bits. A picture of
# 96 x 64 pixels has blocks of 16 x 16 pixels, which survive coarse quantisation, subsampled colour and resizing.
COLUMNS, BIT_ROWS = 6, 2
BITS = COLUMNS * BIT_ROWS
# The last bit is the parity of the others.
MOST_PICTURES = 2 ** (BITS - 1)
DARK, BRIGHT = 40, 215
# A bit and its opposite are 175 grey levels apart when written. Below this distance the picture is damaged.
LEAST_CONTRAST = 70

SAMPLE_RATE = 48000
TICKS_OF_FREE_CLOCK = Fraction(1, 90000)


@dataclass(frozen=True)
class Sound:
    """Silence beside the picture.

    Attributes:
        start: When the sound starts, seconds on the clock of `Recipe.times`.
        seconds: How long the sound is.
        codec: Name of FFmpeg's encoder.
    """

    start: float
    seconds: float
    codec: str = "aac"


@dataclass(frozen=True)
class Recipe:
    """How to make one clip.

    Attributes:
        suffix: Extension of the file name; says the container unless `format` does.
        times: When each picture appears, seconds, ascending. The container may start its clock elsewhere.
        end: When the last picture disappears, seconds on the same clock.
        codec: Name of FFmpeg's encoder.
        options: The encoder's options.
        sound: What is heard; None for no sound.
        time_base: Length of the encoder's tick, seconds; a coarse one moves pictures by up to half a tick.
        rate: Frames per second that the encoder is told; the times decide unless the container has no times.
        format: FFmpeg's name of the container.
        mux_options: The container's options.
        rotation: By how many degrees a player turns the picture, counterclockwise: 0, 90, 180 or 270.
        aspect: Width of a pixel over its height.
        cut: An edit list (mp4 only) shows the part between these two seconds on the clock of `times`, where pictures
            appear, and nothing else.
    """

    suffix: str
    times: Sequence[float]
    end: float
    codec: str = "libx264"
    options: Mapping[str, str] = field(default_factory=dict)
    sound: Sound | None = None
    time_base: Fraction = TICKS_OF_FREE_CLOCK
    rate: Fraction = Fraction(10)
    format: str | None = None
    mux_options: Mapping[str, str] = field(default_factory=dict)
    width: int = 96
    height: int = 64
    pix_fmt: str = "yuv420p"
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    cut: tuple[float, float] | None = None

    @property
    def start(self) -> float:
        """Second 0 of the clip on the clock of `times`: the earliest of sound and picture, or the cut."""
        if self.cut:
            return self.cut[0]
        return min(self.times[0], self.sound.start) if self.sound else self.times[0]

    @property
    def duration(self) -> float:
        """When the last picture disappears, seconds of the clip's clock; sound may go on."""
        return (self.cut[1] if self.cut else self.end) - self.start

    @property
    def numbers(self) -> list[int]:
        """The pictures that are shown."""
        low, high = self.cut or (self.times[0], self.end)
        return [number for number, time in enumerate(self.times) if low <= time < high]

    def shown_between(self, number: int) -> tuple[float, float]:
        """When a picture appears and when it disappears, seconds of the clip's clock."""
        appears = self.times[number] - self.start
        if number == self.numbers[-1]:
            return appears, self.duration
        return appears, self.times[number + 1] - self.start


def evenly(seconds: float, rate: float, start: float = 0.0) -> tuple[float, ...]:
    """When pictures of a constant rate appear."""
    return tuple(start + number / rate for number in range(round(seconds * rate)))


def draw_number(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """The picture of this number, uint8 `[height, width, 3]`.

    Neighbours differ in two bits only (Gray code), so that a group of pictures stays small.
    """
    if not 0 <= number < MOST_PICTURES:
        raise ValueError(f"picture {number}: only {MOST_PICTURES} pictures have a number")
    code = number ^ number >> 1
    bits = [code >> bit & 1 for bit in range(BITS - 1)]
    grid = np.array([*bits, sum(bits) % 2], dtype=bool).reshape(BIT_ROWS, COLUMNS)
    blocks = np.where(np.concatenate([grid, ~grid]), BRIGHT, DARK).astype(np.uint8)
    rows = np.arange(height) * (2 * BIT_ROWS) // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(blocks[np.ix_(rows, columns)][..., None], 3, axis=2)


def read_number(picture: np.ndarray) -> int:
    """The number of a picture, whatever its size: uint8 `[h, w, 3]`.

    Raises:
        ValueError: The picture is damaged, or a mixture of two pictures.
    """
    blocks = _middles(picture.astype(float).mean(axis=2))
    contrast = (blocks[:BIT_ROWS] - blocks[BIT_ROWS:]).ravel()
    if np.abs(contrast).min() < LEAST_CONTRAST:
        raise ValueError(f"the picture is damaged: contrasts {contrast.round().astype(int).tolist()}")
    *bits, parity = (contrast > 0).astype(int).tolist()
    if sum(bits) % 2 != parity:
        raise ValueError(f"the picture mixes two pictures: bits {bits} have parity {parity}")
    code = sum(bit << place for place, bit in enumerate(bits))
    number = 0
    while code:
        number, code = number ^ code, code >> 1
    return number


def _middles(grey: np.ndarray) -> np.ndarray:
    """Mean of the middle of each block, `[rows, columns]`: the border of a block is blurred by the resize."""
    rows = np.linspace(0, grey.shape[0], 2 * BIT_ROWS + 1)
    columns = np.linspace(0, grey.shape[1], COLUMNS + 1)
    return np.array(
        [
            [grey[_inner(top, bottom), _inner(left, right)].mean() for left, right in pairwise(columns)]
            for top, bottom in pairwise(rows)
        ]
    )


def _inner(low: float, high: float) -> slice:
    margin = (high - low) / 4
    return slice(round(low + margin), max(round(high - margin), round(low + margin) + 1))


def write_clip(recipe: Recipe, folder: Path) -> Path:
    """Make the clip. Returns its path: `clip` with the recipe's suffix."""
    path = folder / f"clip{recipe.suffix}"
    with av.open(str(path), "w", format=recipe.format, options=dict(recipe.mux_options)) as container:
        streams = [_picture_packets(container, recipe)]
        if recipe.sound:
            streams.append(_sound_packets(container, recipe.sound))
        # Packets of both streams in the order of their times, as a recorder writes them.
        for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    if recipe.cut:
        _cut_by_edit_list(path, recipe.cut[0] - recipe.times[0], recipe.cut[1] - recipe.cut[0])
    return path


def _picture_packets(container: Any, recipe: Recipe) -> Iterator[Any]:
    stream = container.add_stream(recipe.codec, rate=recipe.rate, options=dict(recipe.options))
    stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, recipe.pix_fmt
    stream.time_base = stream.codec_context.time_base = recipe.time_base
    stream.codec_context.sample_aspect_ratio = recipe.aspect
    stream.codec_context.thread_count = 1
    if recipe.rotation:
        stream.set_display_rotation(recipe.rotation)
    return _encode(stream, _picture_frames(recipe))


def _picture_frames(recipe: Recipe) -> Iterator[Any]:
    ticks = [round(Fraction(time) / recipe.time_base) for time in (*recipe.times, recipe.end)]
    for number, (tick, following) in enumerate(pairwise(ticks)):
        picture = draw_number(number, recipe.width, recipe.height)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=recipe.pix_fmt)
        frame.pts, frame.duration, frame.time_base = tick, following - tick, recipe.time_base
        yield frame


def _sound_packets(container: Any, sound: Sound) -> Iterator[Any]:
    stream = container.add_stream(sound.codec, rate=SAMPLE_RATE, layout="mono", bit_rate=64000)
    return _encode(stream, _sound_frames(stream.codec_context, sound))


def _sound_frames(encoder: Any, sound: Sound) -> Iterator[Any]:
    encoder.open()
    size = encoder.frame_size or 1024
    for number in range(round(sound.seconds * SAMPLE_RATE / size)):
        frame = av.AudioFrame(format=encoder.format.name, layout="mono", samples=size)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
        frame.pts = round(sound.start * SAMPLE_RATE) + number * size
        yield frame


def _encode(stream: Any, frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        yield from stream.encode(frame)
    yield from stream.encode()


def _cut_by_edit_list(path: Path, skipped: float, shown: float) -> None:
    """Rewrite the first edit list of an mp4 file: skip some seconds of the picture, then show some seconds."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 8  # past the name, the version and the flags
    entries, _, media_time = struct.unpack_from(">IIi", content, at)
    assert content[at - 4] == 0 and entries == 1, (
        "an edit list of one entry with fields of 32 bits is expected"
    )
    media_ticks = struct.unpack_from(">I", content, content.index(b"mdhd") + 16)[0]
    movie_ticks = struct.unpack_from(">I", content, content.index(b"mvhd") + 16)[0]
    struct.pack_into(
        ">Ii", content, at + 4, round(shown * movie_ticks), media_time + round(skipped * media_ticks)
    )
    path.write_bytes(content)
