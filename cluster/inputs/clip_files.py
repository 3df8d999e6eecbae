"""Synthetic clips, rendered in the background in the order a run needs them; whoever needs one waits for that one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Self

from cluster.errors import RunFailure
from data.rendering import render_scenes
from data.synthetic import Scene

CLIPS_PER_CALL = 16
# Longest wait for clips that are asked for, seconds; a call renders its few in under a second.
RENDER_TIMEOUT_S = 300.0


class ClipFiles:
    """The rendering of a run's synthetic clips.

    Args:
        waiting: Says on the display what is waited for, while the context it returns is open.
    """

    def __init__(self, waiting: Callable[[str], AbstractContextManager[None]]) -> None:
        self._waiting = waiting
        self._pool: ProcessPoolExecutor | None = None
        self._rendering: dict[str, Future[int]] = {}

    def render(self, work: Sequence[tuple[Scene, Path]]) -> int:
        """Render the files that do not exist yet, the first ones first. Does not wait.

        Returns:
            How many there are to render.
        """
        missing = [(scene, path) for scene, path in work if not path.exists()]
        if missing and self._pool is None:
            # Spawned, not forked: Ray's threads may already run in this process.
            workers = len(os.sched_getaffinity(0))
            self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _step_back)
        for start in range(0, len(missing), CLIPS_PER_CALL):
            part = missing[start : start + CLIPS_PER_CALL]
            assert self._pool is not None
            call = self._pool.submit(render_scenes, part)
            self._rendering.update((str(path), call) for _, path in part)
        return len(missing)

    def is_there(self, path: str) -> bool:
        """Whether nothing is under way for a file; it may still be one that was never there."""
        call = self._rendering.get(path)
        return call is None or call.done()

    def require(self, paths: Iterable[str]) -> None:
        """Wait until those of the files that are being rendered are there.

        Raises:
            RunFailure: one could not be rendered, or not in time.
        """
        calls = [self._rendering[path] for path in paths if path in self._rendering]
        late = [call for call in dict.fromkeys(calls) if not call.done()]
        if late:
            with self._waiting(f"rendering {CLIPS_PER_CALL * len(late)} clips"):
                self._finish(late)
        self._finish(calls)

    def close(self) -> None:
        """Give up what is not rendered yet."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _finish(calls: Iterable[Future[int]]) -> None:
        for call in calls:
            try:
                call.result(RENDER_TIMEOUT_S)
            except TimeoutError:
                raise RunFailure(f"clips were not rendered within {RENDER_TIMEOUT_S:g} s") from None
            except (OSError, BrokenProcessPool) as error:
                raise RunFailure(f"clips could not be rendered: {error}") from error


def _step_back() -> None:
    """What a rendering process does first."""
    if hasattr(os, "SCHED_IDLE"):
        # On cores that nothing else wants: a learner whose threads wait for one another must not wait for clips that
        # are needed later. Linux only.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # Ctrl-C reaches every process of the terminal; the run's own ends these.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
