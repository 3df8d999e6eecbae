"""Features of a frozen vision tower on disk, by clip: computed once, read by every process and every epoch.

Learner ranks write them and rollout workers read them, so the folder lies where all of them see it. It is bounded by
bytes; what was used longest ago goes first.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

SUFFIX = ".safetensors"
FEATURES = "features"
LOCK = "lock"
# Seconds after which a file that is still being written belongs to a process that died.
ABANDONED_S = 3600.0

_log = logging.getLogger(__name__)


def feature_key(clip_digest: str, tower_digest: str) -> str:
    """Name of a clip's features.

    Args:
        clip_digest: Of the decoded clip: its files, span and frame rate, the sampling contract and the frames that
            it chose.
        tower_digest: Of the vision tower's weights.
    """
    return hashlib.sha256(f"{tower_digest}/{clip_digest}".encode()).hexdigest()


class FeatureCache:
    """A folder of features. Any number of processes may use it at a time.

    Args:
        folder: Created if needed.
        max_bytes: All writers together keep the features below this; readers leave it at 0.
    """

    def __init__(self, folder: Path, max_bytes: int = 0) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        folder.mkdir(parents=True, exist_ok=True)
        if max_bytes:
            self._remove_abandoned()

    def __contains__(self, key: str) -> bool:
        return self._path(key).exists()

    def get(self, key: str) -> Tensor | None:
        """Features `[tokens, width]`; None where there are none, or none that can be read."""
        path = self._path(key)
        try:
            features = load(path.read_bytes())[FEATURES]
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError):
            # Torn by a full disk or a crash of the machine: as good as absent.
            path.unlink(missing_ok=True)
            return None
        # A reader may see a folder that only writers can change.
        with suppress(OSError):
            os.utime(path)
        return features

    def refresh(self, key: str) -> bool:
        """Whether there are features, which then count as used just now; does not read them."""
        try:
            os.utime(self._path(key))
        except FileNotFoundError:
            return False
        return True

    def put(self, key: str, features: Tensor) -> None:
        """Store features; what was used longest ago makes room.

        Those larger than the whole cache are not kept, nor those the disk has no room for: they are computed again.
        """
        content = save({FEATURES: features.detach().cpu().contiguous()})
        if len(content) > self._max_bytes:
            return
        unfinished = self._folder / f".{uuid.uuid4().hex}"
        try:
            unfinished.write_bytes(content)
            with self._only_writer():
                self._make_room(len(content))
                os.replace(unfinished, self._path(key))
        except OSError as error:
            _log.warning("features of a clip are not kept in %s: %s", self._folder, error)
            unfinished.unlink(missing_ok=True)

    def nbytes(self) -> int:
        """Bytes in use."""
        return sum(size for _, size, _ in self._entries())

    @contextmanager
    def _only_writer(self) -> Iterator[None]:
        """Between looking for room and taking it no other process takes it."""
        with (self._folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _remove_abandoned(self) -> None:
        """What a crash left half written: no reader looks for it, and the bound does not count it."""
        for path in self._folder.glob(".*"):
            # Another writer may finish or remove it meanwhile.
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()

    def _make_room(self, needed: int) -> None:
        entries = sorted(self._entries())
        used = sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if used + needed <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            used -= size

    def _entries(self) -> list[tuple[int, int, Path]]:
        """Time of last use, size and path of each file; other processes may take files away meanwhile."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime_ns, status.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"
