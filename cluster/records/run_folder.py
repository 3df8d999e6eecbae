"""A folder that one process at a time writes into: a run's, an evaluation's, or that of grades.

The holder has a lock on `run.lock` in it, which the system lets go when the process ends, however it ends. The file
says who the holder is.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from cluster.errors import ConfigError, RunFolderGone
from rewards.terminal import say

LOCK_FILE = "run.lock"
HELD = {errno.EAGAIN, errno.EACCES}
# What file systems without locks answer.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class HeldFolder:
    """A folder that is ours.

    Attributes:
        path: Where it lies.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._own = path.absolute(), os.stat(path)

    def check(self) -> None:
        """Make sure that the folder is where it was.

        Raises:
            RunFolderGone: it was deleted, moved or replaced.
        """
        try:
            found: os.stat_result | None = os.stat(self.path)
        except FileNotFoundError:
            found = None
        if found is None or not os.path.samestat(found, self._own):
            raise RunFolderGone(self.path)


@contextmanager
def held_folder(folder: Path) -> Iterator[HeldFolder]:
    """Hold a folder, which is made if it is not there.

    Raises:
        ConfigError: another process holds it.
        OSError: it cannot be made or written.
        RunFolderGone: something failed, and the folder is not where it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _lock(file, folder)
        with _watched(HeldFolder(folder)) as held:
            yield held


@contextmanager
def new_folder(folder: Path) -> Iterator[HeldFolder]:
    """Make and hold a folder; what lies there keeps its content under the next free number.

    Raises:
        ConfigError: another process holds what lies there, or makes it at the same moment.
        OSError: it cannot be made or written.
        RunFolderGone: something failed, and the folder is not where it was.
    """
    _set_aside(folder)
    # Held before it has its name: nobody finds it without its lock.
    unnamed = folder.with_name(f".{folder.name}.{os.getpid()}.new")
    unnamed.mkdir(parents=True)
    with (unnamed / LOCK_FILE).open("a+", encoding="utf-8") as file:
        _lock(file, folder)
        try:
            unnamed.rename(folder)
        except OSError as error:
            (unnamed / LOCK_FILE).unlink()
            unnamed.rmdir()
            raise ConfigError(f"{folder} was made by another process just now: {error.strerror}") from error
        with _watched(HeldFolder(folder)) as held:
            yield held


@contextmanager
def _watched(folder: HeldFolder) -> Iterator[HeldFolder]:
    """Whatever fails once the folder is gone fails for that."""
    try:
        yield folder
    except Exception:
        folder.check()
        raise


def _set_aside(folder: Path) -> None:
    """Keep what an earlier run of this name left: its folder gets the next free number."""
    if not folder.exists():
        return
    number = next(n for n in count(1) if not folder.with_name(f"{folder.name}.{n}").exists())
    aside = folder.with_name(f"{folder.name}.{number}")
    if (folder / LOCK_FILE).exists():
        with (folder / LOCK_FILE).open("r+", encoding="utf-8") as file:
            _lock(file, folder)
            folder.rename(aside)
    else:
        folder.rename(aside)
    say(f"{folder} holds an earlier run; it is kept as {aside.name}")


def _lock(file: TextIO, folder: Path) -> None:
    """Take the lock and say in the file who has it. Not `flock`: children that outlive this process would keep it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise ConfigError(_refusal(file, folder)) from error
        if error.errno not in NO_LOCKS:
            raise
        say(f"warning: {folder} is on a file system without locks: see that nothing else writes there")
    file.truncate(0)
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}) + "\n")
    file.flush()


def _refusal(file: TextIO, folder: Path) -> str:
    return (
        f"{folder} is in use: {_holder(file)} writes there. Wait until it has ended, or stop it there (kill); what it "
        "leaves can then be gone on with. To do both at a time, give this one another run.name or run.output_dir."
    )


def _holder(file: TextIO) -> str:
    """`process 17 on node3, since 2026-03-02T14:05:11+00:00`."""
    file.seek(0)
    try:
        who: dict[str, Any] = json.loads(file.read())
        return f"process {who['pid']} on {who['host']}, since {who['since']},"
    except (ValueError, KeyError, TypeError):
        return "a process that has not said yet which it is"
