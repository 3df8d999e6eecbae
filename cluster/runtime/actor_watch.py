"""Notices an actor that died while nobody was waiting for it.

A call to an actor fails at once when the actor is dead, but a driver that waits for the learner calls no rollout worker
for minutes. A thread therefore keeps one harmless call pending on every actor.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from data.failures import ActorFailure, describe_failure

INTERVAL_SECONDS = 5.0
# The driver is mostly the first to know, from its own call; it gets this long to say so itself.
GRACE_SECONDS = 3.0


class ActorWatch:
    """Interrupts the main thread, as Ctrl-C does, when an actor is dead.

    Args:
        actors: The actors there are now, by name; called again and again. May itself raise the failure of one that
            did not come up.
        interrupt: How the main thread is woken.

    Attributes:
        failure: What was found; None while all is well.
    """

    def __init__(
        self, actors: Callable[[], Mapping[str, Any]], interrupt: Callable[[], None] | None = None
    ) -> None:
        self.failure: ActorFailure | None = None
        self._actors = actors
        self._interrupt = interrupt or (lambda: os.kill(os.getpid(), signal.SIGINT))
        self._pending: dict[ray.ObjectRef, tuple[str, Any]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="actor-watch", daemon=True)

    def __enter__(self) -> ActorWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching; actors may be ended from here on."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            failure = self._look()
            if failure is None:
                continue
            if not self._stopped.wait(GRACE_SECONDS):
                self.failure = failure
                self._interrupt()
            return

    def _look(self) -> ActorFailure | None:
        """The first actor found dead."""
        try:
            self._ask()
        except ActorFailure as failure:
            return failure
        if not self._pending:
            return None
        answered, _ = ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)
        for ref in answered:
            name, actor = self._pending.pop(ref)
            try:
                ray.get(ref)
            except RayError as error:
                # Those that were ended on purpose are no longer among the actors.
                if any(actor is other for other in self._actors().values()):
                    return describe_failure(name, "running", error)
        return None

    def _ask(self) -> None:
        """Have one call pending on every actor; a busy one answers when it has time."""
        waited_for = [actor for _, actor in self._pending.values()]
        for name, actor in self._actors().items():
            if not any(actor is other for other in waited_for):
                self._pending[actor.__ray_ready__.remote()] = (name, actor)


@contextmanager
def as_failure(watch: ActorWatch) -> Iterator[None]:
    """Tell an interruption by the watch from one by the user."""
    try:
        yield
    except KeyboardInterrupt:
        if watch.failure is None:
            raise
        raise watch.failure from None
