"""What a judge has answered and how many requests that took, on disk: for later steps, resumed runs, other workers."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

# Another process may hold the file's lock for the length of one small write.
LOCK_TIMEOUT_S = 30.0
TABLES = """
    CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, verdicts TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS spending (id INTEGER PRIMARY KEY CHECK (id = 1), requests INTEGER NOT NULL);
    INSERT OR IGNORE INTO spending VALUES (1, 0);
"""


class JudgeStore:
    """A SQLite file that any number of processes may use at a time; each object is for one thread.

    Args:
        path: Created if needed, with its folder.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT_S, isolation_level=None)
        # A machine that loses power may lose the last answers, and no write waits for the disk.
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.executescript(TABLES)

    def get(self, request: dict[str, Any]) -> list[bool] | None:
        """The verdicts that this request was answered with, or None."""
        query = "SELECT verdicts FROM answers WHERE question = ?"
        row = self._connection.execute(query, (request_key(request),)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, request: dict[str, Any], verdicts: list[bool]) -> None:
        """Keep an answer."""
        row = (request_key(request), json.dumps(verdicts))
        self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", row)

    def spend(self, most: int) -> bool:
        """Count one request, unless `most` are counted already; whether it was."""
        update = "UPDATE spending SET requests = requests + 1 WHERE requests < ?"
        return self._connection.execute(update, (most,)).rowcount == 1

    @property
    def spent(self) -> int:
        """Requests counted so far."""
        return int(self._connection.execute("SELECT requests FROM spending").fetchone()[0])


def request_key(request: dict[str, Any]) -> str:
    """Digest of a request: its model and every word of its prompt."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
