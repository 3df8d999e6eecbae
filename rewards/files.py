"""Opening what others named: a regular file, of which no more than a limit is read. No pipe, which may never end."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO

# Annotations or answers: a file of them, which is read whole where it is no file of lines, and one line, bytes.
MAX_FILE_BYTES, MAX_LINE_BYTES = 2**31, 2**24

_SPECIAL = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file. Of one that is too long, no more than makes it too long for whoever reads it is given."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            line = b"?" * (MAX_LINE_BYTES + 1)
        yield line


def special_kind(mode: int) -> str | None:
    """What a path is that is neither a file nor a folder, whose reading may never end: "a pipe".

    Args:
        mode: As `os.stat` tells it.
    """
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return next((kind for holds, kind in _SPECIAL if holds(mode)), "no regular file")


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        OSError: it is none, or cannot be opened.
    """
    if kind := special_kind(os.stat(path).st_mode):
        raise OSError(f"{os.fspath(path)}: is {kind}, which is never opened: name a file")
    return open(path, "rb")


def read_file(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a regular file of at most so many bytes. Raises `OSError` of any other."""
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(f"{os.fspath(path)}: holds more than {most:,} bytes")
        return file.read()
