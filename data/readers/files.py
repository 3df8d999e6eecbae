"""Annotation files as Python values. What is damaged becomes broken entries; only a missing file raises."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data.annotation_lines import annotation_lines, decode_text
from data.limits import MAX_NESTING
from data.readers.entries import Entry, Fields, broken
from data.schema import AnnotationError
from rewards.files import MAX_FILE_BYTES, read_file
from rewards.lines import NotUtf8, decode

TOO_DEEP = f"lists and objects are nested more than {MAX_NESTING} deep"
# Texts too: brackets in them are letters.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


class DamagedFile(Exception):
    """A file of which nothing can be used.

    Attributes:
        entry: The broken entry that says so.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, reason)
        self.entry = broken(place, reason)


def read_json(path: Path) -> tuple[Any, list[Entry]]:
    """The value of a JSON file, and a broken entry for each key that an object gives twice (the last value counts).

    Raises:
        DamagedFile: not UTF-8, not JSON, or nested too deeply.
        OSError: it cannot be read, or is larger than `MAX_FILE_BYTES`.
    """
    repeated: Counter[str] = Counter()

    def as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            repeated.update(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return value

    text = _text(path)
    try:
        value = json.loads(text, object_pairs_hook=as_object)
        require_shallow(value)
    except json.JSONDecodeError as error:
        raise DamagedFile(f"{path}:{error.lineno}", f"not JSON: {error.msg}") from error
    except (AnnotationError, RecursionError) as error:
        raise DamagedFile(f"{path}:{_deep_line(text)}", TOO_DEEP) from error
    # What json makes of a text beyond its own error: a number of 5,000 digits.
    except ValueError as error:
        raise DamagedFile(str(path), f"not JSON: {error}") from error
    return value, [broken(f"{path}[{key}]", "the key is given more than once") for key in repeated]


def require_shallow(value: Any) -> None:
    """Raises `AnnotationError` if a JSON value has lists or objects within each other beyond `MAX_NESTING`."""
    level = [value]
    for _ in range(MAX_NESTING + 1):
        holders = [inside for inside in level if isinstance(inside, (dict, list))]
        level = [inner for holder in holders for inner in _inside(holder)]
    if holders:
        raise AnnotationError(TOO_DEEP)


def list_entries(path: Path, fields: Callable[[Any, int], Fields]) -> Iterator[Entry]:
    """An entry for each item of a JSON file that holds a list.

    Args:
        fields: Makes the fields of an entry from an item and its position. Raises as `Entry.fields` does.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        value, repeated = read_json(path)
    except DamagedFile as damage:
        yield damage.entry
        return
    yield from repeated
    if not isinstance(value, list):
        yield broken(str(path), f"expected a list, found {type(value).__name__}")
        return
    for number, item in enumerate(value):
        yield Entry(f"{path}[{number}]", partial(fields, item, number))


def object_entries(path: Path, entries_of: Callable[[str, str, Any], Iterable[Entry]]) -> Iterator[Entry]:
    """The entries that each member of a JSON object makes.

    Args:
        entries_of: Makes them from the member's place, key and value. What it raises as `AnnotationError` becomes a
            broken entry in place of those it had still to make.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        content, repeated = read_object(path)
    except DamagedFile as damage:
        yield damage.entry
        return
    yield from repeated
    for key, value in content.items():
        place = f"{path}[{key}]"
        try:
            yield from entries_of(place, key, value)
        except AnnotationError as error:
            yield broken(place, str(error))


def read_object(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """As `read_json`, for a file that holds an object. Raises `DamagedFile` for one that does not."""
    value, repeated = read_json(path)
    if not isinstance(value, dict):
        raise DamagedFile(str(path), f"expected an object, found {type(value).__name__}")
    return value, repeated


def read_lines(path: Path) -> Iterator[tuple[str, str | AnnotationError]]:
    """Place and text of every line that says something, or why it cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    for number, line in annotation_lines(path):
        try:
            text = decode_text(line).strip()
            if "\r" in text:
                raise AnnotationError(
                    "a carriage return within the line; save the file with one kind of line ends"
                )
            yield f"{path}:{number}", text
        except AnnotationError as error:
            yield f"{path}:{number}", error


def read_table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells of every row of a CSV file with a head. A cell that is not there is not in the row.

    Raises:
        DamagedFile: not UTF-8, or not CSV.
        OSError: it cannot be read.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    try:
        rows = [(f"{path}:{reader.line_num}", row) for row in reader]
    except csv.Error as error:
        raise DamagedFile(f"{path}:{reader.line_num}", f"not CSV: {error}") from error
    head = rows[0][1] if rows else []
    yield from ((place, dict(zip(head, row, strict=False))) for place, row in rows[1:] if row)


def _inside(holder: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return holder.values() if isinstance(holder, dict) else holder


def _deep_line(text: str) -> int:
    """The line on which brackets are open beyond `MAX_NESTING`."""
    depth = 0
    for token in _BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_NESTING:
            break
    return text.count("\n", 0, token.start()) + 1


def _text(path: Path) -> str:
    content = read_file(path, MAX_FILE_BYTES)
    try:
        return decode(content)
    except NotUtf8 as error:
        line = content.count(b"\n", 0, error.place) + 1
        raise DamagedFile(f"{path}:{line}", str(error)) from error
