"""What a judge has answered and how many requests that took, on disk: for later steps, resumed runs, other workers."""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.judge_reply import EndpointError

# Another process may hold the file's lock for the length of one small write.
LOCK_TIMEOUT_S = 30.0
TABLES = """
    CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, verdicts TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS spending (id INTEGER PRIMARY KEY CHECK (id = 1), requests INTEGER NOT NULL);
    INSERT OR IGNORE INTO spending VALUES (1, 0);
"""
COLUMNS = {"answers": ["question", "verdicts"], "spending": ["id", "requests"]}
# What SQLite says of a file that is damaged, or none of its own.
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# A file and what SQLite keeps beside it, which would be played back into the file that takes its place.
SUFFIXES = ("", "-journal", "-wal", "-shm")


class _Damaged(Exception):
    """The file cannot be used; the message says why."""


class JudgeStore:
    """A SQLite file that any number of processes may use at a time; each object is for one thread.

    A file that is damaged or another program's is set aside under another name, and a new one takes its place.

    Args:
        path: Created if needed, with its folder.

    Attributes:
        problem: What became of a file that was set aside, or None.

    Raises:
        EndpointError: here and in every method, the file cannot be opened, read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem: str | None = None
        with _as_endpoint_error(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._opened()

    def get(self, request: dict[str, Any], count: int) -> list[bool] | None:
        """The `count` verdicts that this request was answered with, or None."""
        row = self._run("SELECT verdicts FROM answers WHERE question = ?", request_key(request)).fetchone()
        return _verdicts(row[0], count) if row else None

    def put(self, request: dict[str, Any], verdicts: list[bool]) -> None:
        """Keep an answer."""
        self._run("INSERT OR REPLACE INTO answers VALUES (?, ?)", request_key(request), json.dumps(verdicts))

    def spend(self, most: int) -> bool:
        """Count one request, unless `most` are counted already; whether it was."""
        return self._run("UPDATE spending SET requests = requests + 1 WHERE requests < ?", most).rowcount == 1

    @property
    def spent(self) -> int:
        """Requests counted so far."""
        return int(self._run("SELECT requests FROM spending").fetchone()[0])

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with _as_endpoint_error(self._path):
            try:
                return self._connection.execute(statement, values)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
            # It was sound when it was opened, so this is seldom.
            self._connection.close()
            self._connection = self._opened()
            return self._connection.execute(statement, values)

    def _opened(self) -> sqlite3.Connection:
        """A connection to the file, or to the one that takes its place. One process at a time looks and sets aside."""
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                return _connected(self._path)
            except _Damaged as error:
                aside = f"{self._path.name}.set-aside-{time.time_ns()}"
                for suffix in SUFFIXES:
                    beside = self._path.with_name(self._path.name + suffix)
                    if beside.exists():
                        beside.rename(self._path.with_name(aside + suffix))
                self.problem = (
                    f"the judge's file {self._path} cannot be used: {error}; it is now {aside}, its "
                    "questions are asked anew and requests are counted from 0"
                )
                return _connected(self._path)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
    try:
        _prepare(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        if _is_damage(error):
            raise _Damaged(str(error)) from error
        raise
    except _Damaged:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, unless the file holds others.

    Raises:
        _Damaged: it is another program's, or its pages contradict each other.
        sqlite3.DatabaseError: it is no SQLite file, or cannot be used now.
    """
    # A machine that loses power may lose the last answers, and no write waits for the disk.
    connection.execute("PRAGMA synchronous = OFF")
    tables = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"
        )
    ]
    if any(_columns(connection, table) != COLUMNS.get(table) for table in tables):
        raise _Damaged("its tables are another program's")
    connection.executescript(TABLES)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Damaged(str(found))
    counted = connection.execute("SELECT requests FROM spending").fetchall()
    if len(counted) != 1 or not isinstance(counted[0][0], int) or counted[0][0] < 0:
        raise _Damaged("it does not say how many requests were spent")


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # The low byte is the kind, the others say more of it.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGE


@contextmanager
def _as_endpoint_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error, _Damaged) as error:
        raise EndpointError(f"the judge's file {path} (judge.cache) fails: {error}") from error


def _verdicts(text: object, count: int) -> list[bool] | None:
    """The verdicts of a row, or None where it does not hold so many: another may have written it."""
    try:
        verdicts = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    are_all = isinstance(verdicts, list) and len(verdicts) == count and set(map(type, verdicts)) <= {bool}
    return verdicts if are_all else None


def request_key(request: dict[str, Any]) -> str:
    """Digest of a request: its model and every word of its prompt."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
