"""What a run shows while it works: a live display on a terminal, plain flushed lines anywhere else.

A log (`ray job`, CI) gets one line per step and a sign of life while something is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live

from cluster.progress.state import ProgressState, plain_line, spoken
from cluster.progress.view import draw
from cluster.records.metrics import StepRecord
from rewards.terminal import Terminal, one_line

HEARTBEAT_S = 15.0


class Progress:
    """The base of both displays: it keeps the state, they show it. Use it as a context manager."""

    def __init__(self, run_name: str, console: Terminal) -> None:
        self.console = console
        self.state = ProgressState(run_name)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def stage(self, name: str, total: int | None = None, done: int = 0) -> None:
        """Start a stage, `GRPO` say; `total` steps or items, `done` of them before a resume."""
        with self._lock:
            self.state.enter(name, total, done)

    def advance(self, done: int) -> None:
        """So many of the stage's items are finished; for stages without step records."""
        with self._lock:
            self.state.pace.done = done

    def step(self, record: StepRecord) -> None:
        """A step is finished."""
        with self._lock:
            self.state.take(record)

    def constants(self, percent: Mapping[str, float]) -> None:
        """The constant answer's score per task in percent, shown beside the policy's."""
        with self._lock:
            self.state.constants = dict(percent)

    def warn(self, message: str) -> None:
        """Something the user should know that does not stop the run."""
        with self._lock:
            self.state.warn(message)

    def say(self, text: str) -> None:
        """A line that stays on the screen; rich flushes it."""
        self.console.print(one_line(text), soft_wrap=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Say what is waited for, and for how long already: `starting 1 rollout worker (vLLM)`."""
        with self._lock:
            started = self.state.waiting[what] = self.state.clock()
        try:
            yield
        finally:
            with self._lock:
                self.state.waiting.pop(what, None)
        self.say(f"{what}: {spoken(self.state.clock() - started)}")


class LiveProgress(Progress):
    """A display that redraws itself in place four times a second."""

    def __init__(self, run_name: str, console: Terminal) -> None:
        super().__init__(run_name, console)
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        with self._lock:
            return draw(self.state)


class PlainProgress(Progress):
    """Lines for a log.

    Args:
        log_every: A line for every so many steps; the last step of a stage always has one.
        heartbeat: Seconds between signs of life while something is waited for or items are worked through.
    """

    def __init__(
        self, run_name: str, console: Terminal, log_every: int = 1, heartbeat: float = HEARTBEAT_S
    ) -> None:
        super().__init__(run_name, console)
        self._log_every = log_every
        self._heartbeat = heartbeat
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def stage(self, name: str, total: int | None = None, done: int = 0) -> None:
        """Start a stage and say so."""
        super().stage(name, total, done)
        resumed = f", {done} done before" if done else ""
        self.say(f"== {name}{f': {total}' if total else ''}{resumed}")

    def step(self, record: StepRecord) -> None:
        """Print the step's line."""
        super().step(record)
        if record.step % self._log_every == 0 or record.step == self.state.pace.total:
            self.say(plain_line(self.state))

    def warn(self, message: str) -> None:
        """Print the warning."""
        super().warn(message)
        self.say(f"warning: {message}")

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Say at once what is waited for, and again now and then."""
        self.say(f"{what} ...")
        with super().waiting(what):
            yield

    def _beat(self) -> None:
        shown = 0
        while not self._ended.wait(self._heartbeat):
            with self._lock:
                state, now = self.state, self.state.clock()
                for what, started in state.waiting.items():
                    self.say(f"{what} ... {spoken(now - started)}")
                if state.record is None and state.pace.done not in (0, shown):
                    shown = state.pace.done
                    left = spoken(state.pace.seconds_left(now))
                    self.say(f"{state.stage} {shown}/{state.pace.total}, {left} left")


def make_progress(run_name: str, log_every: int = 1, console: Terminal | None = None) -> Progress:
    """The display that fits where the output goes."""
    console = console or Terminal()
    # Not `console.is_terminal`: FORCE_COLOR makes that true where nothing can be redrawn.
    if console.file.isatty() and not console.is_dumb_terminal:
        return LiveProgress(run_name, console)
    return PlainProgress(run_name, console, log_every)
