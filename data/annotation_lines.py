"""Annotation files a line at a time, each line within a limit and UTF-8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.schema import AnnotationError
from rewards.files import open_file
from rewards.lines import decode_line, numbered_lines


def annotation_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, numbered from 1, as `rewards.lines` tells them apart.

    Raises:
        OSError: the path is no regular file, or cannot be read.
    """
    with open_file(path) as file:
        yield from numbered_lines(file)


def decode_text(content: bytes) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        AnnotationError: it is not, and the message says what it is; or it is too long.
    """
    try:
        return decode_line(content)
    except ValueError as error:
        raise AnnotationError(str(error)) from error
