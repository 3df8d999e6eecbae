"""Files of JSON Lines and other text a line at a time, in whatever form other people's tools have saved them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from rewards.files import MAX_FILE_BYTES, MAX_LINE_BYTES, bounded_lines

IS_A_LIST = "is a JSON list rather than JSON Lines; its items are read, numbered from 1"

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"
_BLANKS = re.compile(r"[ \t\r\n]*+")


class NotUtf8(ValueError):
    """Bytes in another encoding; the message says which, and what to do.

    Attributes:
        place: The first byte that is not UTF-8.
    """

    def __init__(self, message: str, place: int) -> None:
        super().__init__(message)
        self.place = place


def decode(content: bytes) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        NotUtf8: it is not.
    """
    if content.startswith(_UTF16_MARKS) or b"\0" in content[:64]:
        raise NotUtf8("UTF-16 text, or another with zero bytes; save the file as UTF-8", 0)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUtf8(
            f"not UTF-8 text at byte {error.start}, probably Latin-1; save the file as UTF-8", error.start
        ) from error


def decode_line(content: bytes) -> str:
    """A line, or an item of a list, as `decode` has it.

    Raises:
        ValueError: it is not UTF-8, or longer than `MAX_LINE_BYTES`; the message says which.
    """
    if len(content) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES:,} bytes")
    return decode(content)


def numbered_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that say something, numbered from 1.

    A newline ends a line, and no Unicode separator in a text does. Where a file has no newline at all, carriage returns
    end its lines, as on old Macs, unless all of it is one JSON value. Of a UTF-16 file, in which lines end otherwise,
    the first line alone is given. A line longer than `MAX_LINE_BYTES` is read past; what stands for it is too long for
    `decode_line` too.
    """
    for number, line in enumerate(bounded_lines(file), start=1):
        if number == 1 and line.startswith(_UTF16_MARKS):
            yield number, line
            return
        if number == 1 and not line.endswith(b"\n") and b"\r" in line and not _is_json(line):
            yield from (
                (place, part) for place, part in enumerate(line.split(b"\r"), start=1) if part.strip()
            )
        elif line.strip():
            yield number, line


def numbered_records(file: BinaryIO) -> tuple[bool, Iterator[tuple[int, bytes]]]:
    """Whether a file is one JSON list, and its items or else its lines, numbered from 1.

    An item after which the list cannot be read any further takes the rest of the file with it.

    Raises:
        OSError: it is a list of more than `MAX_FILE_BYTES`, which would be read whole.
    """
    items = None
    if _starts_as_list(file):
        if file.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
            raise OSError(
                f"{file.name}: a JSON list of more than {MAX_FILE_BYTES:,} bytes; save it as JSON Lines"
            )
        file.seek(0)
        items = _items(file.read())
    file.seek(0)
    return items is not None, numbered_lines(file) if items is None else enumerate(items, start=1)


def _starts_as_list(file: BinaryIO) -> bool:
    """Whether the first letter is a bracket, of however long a line."""
    while part := file.read(2**16):
        if said := part.removeprefix(_UTF8_MARK).lstrip():
            return said.startswith(b"[")
    return False


def _items(content: bytes) -> list[bytes] | None:
    """The items of a JSON list as they are written; None where it is none, but lines of which the first is a list."""
    try:
        text = decode(content).strip()
    except NotUtf8:
        return None
    decoder, items = json.JSONDecoder(), list[bytes]()
    place = _past_blanks(text, 1)
    while text[place : place + 1] != "]":
        try:
            end = decoder.raw_decode(text, place)[1]
        # A number of thousands of digits is a ValueError, brackets a thousand deep are a RecursionError.
        except (ValueError, RecursionError):
            return [*items, text[place:].encode()] if items else None
        items.append(text[place:end].encode())
        place = _past_blanks(text, end)
        if text[place : place + 1] == ",":
            place = _past_blanks(text, place + 1)
        elif text[place : place + 1] != "]":
            return [*items, text[place:].encode()]
    return items if place == len(text) - 1 else None


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _past_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found
    return found.end()
