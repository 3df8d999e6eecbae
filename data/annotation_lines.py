"""Annotation files a line at a time, each line within a limit and UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data.limits import MAX_LINE_BYTES, open_file
from data.schema import AnnotationError
from rewards.lines import NotUtf8, decode, numbered_lines


def annotation_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, numbered from 1, as `rewards.lines` tells them apart.

    A line longer than `MAX_LINE_BYTES` is read past; what stands for it is too long for `decode_text` too.

    Raises:
        OSError: the path is no regular file, or cannot be read.
    """
    with open_file(path) as file:
        yield from numbered_lines(_bounded(file))


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            line = b"?" * (MAX_LINE_BYTES + 1)
        yield line


def decode_text(content: bytes) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        AnnotationError: it is not, and the message says what it is; or it is too long.
    """
    if len(content) > MAX_LINE_BYTES:
        raise AnnotationError(f"longer than {MAX_LINE_BYTES:,} bytes")
    try:
        return decode(content)
    except NotUtf8 as error:
        raise AnnotationError(str(error)) from error
