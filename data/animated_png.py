"""The frames of an animated PNG, put together as its specification says (https://www.w3.org/TR/png-3/).

Pillow shows such frames wrongly where one is laid over another half transparently or is taken off again.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image

from data.pixels import to_8_bits

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SOURCE, _TO_TRANSPARENT, _TO_PREVIOUS = 0, 1, 2


@dataclass
class _Frame:
    """One frame: its control chunk's fields, and the parts of its compressed pixels."""

    size: bytes
    box: tuple[int, int, int, int]
    delay: float
    disposal: int
    blend: int
    parts: list[bytes] = field(default_factory=list)


def animated_png_frames(content: bytes) -> Iterator[tuple[float, Image.Image]]:
    """The delay, seconds, and the whole picture, RGBA, of each frame.

    A picture that is only for viewers without animation is no frame.

    Args:
        content: The file's.

    Raises:
        ValueError, OSError, SyntaxError, struct.error: the file is damaged.
    """
    header, palette, frames = _parse(content)
    canvas = Image.new("RGBA", struct.unpack(">II", header[:8]))
    for frame in frames:
        piece = to_8_bits(Image.open(io.BytesIO(_still_png(header, palette, frame)))).convert("RGBA")
        before = canvas.copy()
        if frame.blend == _SOURCE:
            canvas.paste(piece, frame.box)
        else:
            canvas.alpha_composite(piece, frame.box[:2])
        yield frame.delay, canvas.copy()
        if frame.disposal == _TO_TRANSPARENT:
            canvas.paste((0, 0, 0, 0), frame.box)
        elif frame.disposal == _TO_PREVIOUS:
            canvas = before


def _parse(content: bytes) -> tuple[bytes, bytes, list[_Frame]]:
    """The header's content, the chunks of palette and transparency, and the frames."""
    header, palette, count = b"", b"", 0
    frames: list[_Frame] = []
    for kind, body in _chunks(content):
        if kind == b"IHDR":
            header = body
        elif kind == b"acTL":
            (count,) = struct.unpack(">I", body[:4])
        elif kind in (b"PLTE", b"tRNS"):
            palette += _chunk(kind, body)
        elif kind == b"fcTL":
            frames.append(_read_control(body, header))
        elif kind == b"IDAT" and frames:
            frames[-1].parts.append(body)
        elif kind == b"fdAT":
            frames[-1].parts.append(body[4:])
    if len(frames) < count:
        raise ValueError(f"{len(frames)} of {count} frames")
    return header, palette, frames


def _read_control(body: bytes, header: bytes) -> _Frame:
    width, height, x, y, numerator, denominator, disposal, blend = struct.unpack(">IIIIHHBB", body[4:26])
    canvas_width, canvas_height = struct.unpack(">II", header[:8])
    if x + width > canvas_width or y + height > canvas_height:
        raise ValueError("a frame reaches past the picture")
    return _Frame(
        body[4:12], (x, y, x + width, y + height), numerator / (denominator or 100), disposal, blend
    )


def _still_png(header: bytes, palette: bytes, frame: _Frame) -> bytes:
    """One frame's own pixels as a PNG."""
    pixels = _chunk(b"IDAT", b"".join(frame.parts))
    return _SIGNATURE + _chunk(b"IHDR", frame.size + header[8:]) + palette + pixels + _chunk(b"IEND", b"")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        yield kind, content[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
