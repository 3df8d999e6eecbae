"""Damage for fuzz tests: bytes flipped, cut, spliced, and numbers made extreme. Every seed gives the same damage."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
# Most of what can be claimed is claimed here, bytes.
HEADER = 600


def damaged(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The content with one to three kinds of damage, never empty.

    Args:
        others: Contents that a splice may take a stretch from.
    """
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice((_flip, _claim, _cut, _drop, _repeat, _splice))(result, others, rng)
    return bytes(result or b"\1")


def _place(content: bytearray, rng: random.Random) -> int:
    """Any byte, half of the time one of the first or last, where headers and indices are."""
    near = min(HEADER, len(content))
    return rng.choice(
        (
            rng.randint(0, len(content)),
            rng.randint(0, len(content)),
            rng.randint(0, near),
            len(content) - rng.randint(0, near),
        )
    )


def _flip(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.randint(1, 20)):
        at = _place(content, rng)
        content[at : at + 1] = bytes([rng.randrange(256)])


def _claim(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at, order, value = _place(content, rng), rng.choice("<>"), rng.choice(EXTREMES)
    content[at : at + 4] = struct.pack(f"{order}I", value)


def _cut(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    del content[_place(content, rng) :]


def _drop(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(content, rng)
    del content[at : at + rng.choice((1, 4, 100, 1000))]


def _repeat(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(content, rng)
    content[at:at] = content[at : at + rng.choice((4, 100, 1000))]


def _splice(content: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    start, at = rng.randint(0, len(other)), _place(content, rng)
    length = rng.choice((8, 200, 5000))
    content[at : at + rng.choice((0, length))] = other[start : start + length]
