"""JSONL files of records: appended and flushed record by record, cut back on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cluster.errors import RunFolderGone
from cluster.records.metrics import Record

R = TypeVar("R", bound=Record)


class JsonLines:
    """An append-only JSONL file of records.

    Raises:
        OSError: the file cannot be opened or written; a run that cannot record itself must stop.
        RunFolderGone: the file is not where it was opened.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_torn_line(path)
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def append(self, *records: Record) -> None:
        """Write the records, one line each, and flush."""
        self._check_place()
        self._file.write("".join(json_line(record.model_dump(mode="json")) for record in records))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _check_place(self) -> None:
        """A file that was deleted or moved with its folder would take records that nobody finds."""
        try:
            found: os.stat_result | None = os.stat(self._path)
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, os.fstat(self._file.fileno())):
            raise RunFolderGone(self._path)


def json_line(fields: Any) -> str:
    """One line of strict JSON and its newline, in ASCII: a response may hold any Unicode line separator."""
    return json.dumps(fields, allow_nan=False) + "\n"


def read_records(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a file in order; none if the file does not exist. A torn last line is left out.

    Raises:
        ValueError: a line is not a record of this kind; the message names file and line.
    """
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")[:-1]
    for number, line in enumerate(lines, start=1):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise ValueError(f"{path}:{number}: {error}") from error


def drop_torn_line(path: Path) -> None:
    """Cut off what follows the last newline: the half record of a run that was killed while writing."""
    if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
        replace_file(path, content[: content.rfind(b"\n") + 1])


def keep_through(path: Path, kind: type[R], last_step: int) -> int:
    """Drop the records past `last_step`, for a run that resumes there.

    Returns:
        How many records were dropped.
    """
    records = list(read_records(path, kind))
    kept = [record for record in records if record.step <= last_step]
    if path.exists():
        replace_file(path, _joined(kept))
    return len(records) - len(kept)


def _joined(records: Iterable[Record]) -> bytes:
    return "".join(json_line(record.model_dump(mode="json")) for record in records).encode()


def replace_file(path: Path, content: bytes) -> None:
    """Swap the file's content in one rename, so that a crash here leaves the old file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
