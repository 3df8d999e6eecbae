"""Running one long set-up command: everything into the log, one short line of progress on the screen."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO

QUIET_S = 15.0
TAIL_LINES = 60
# What pip says that tells a person how far it is.
NEWS = re.compile(
    r"\s*((?:Collecting|Downloading|Processing|Using cached|Obtaining|Preparing|Getting|Building) .*"
    r"|Installing (?:build|collected).{0,30}|WARNING: Retrying.*)"
)


class SetUpFailed(Exception):
    """A step failed: which, why, and what to do about it."""

    step = "starting"

    def __init__(self, why: str, advice: str) -> None:
        super().__init__(why)
        self.why = why
        self.advice = advice


def run_step(
    command: list[str], log: Path, cwd: Path, environment: dict[str, str], echo: bool = False
) -> tuple[int, str]:
    """Run a command, its output appended to `log`.

    Args:
        echo: Print its lines as they come instead of the progress line.

    Returns:
        The exit status and the last lines of its output.
    """
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    tail = _follow(lines, log, " ".join(command), echo)
    return process.wait(), "".join(tail)


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _follow(lines: queue.Queue[str | None], log: Path, title: str, echo: bool) -> deque[str]:
    progress = Progress()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with log.open("a") as record:
        record.write(f"$ {title}\n")
        while (line := _next(lines)) is not None:
            record.write(line)
            tail.extend([line] if line else [])
            if echo:
                print(line, end="", flush=True)
            else:
                progress.show(line)
    progress.end()
    return tail


def _next(lines: queue.Queue[str | None]) -> str | None:
    """The next line, "" when there is none for a second, None at the end."""
    try:
        return lines.get(timeout=1.0)
    except queue.Empty:
        return ""


class Progress:
    """Seconds and the latest news: a line that rewrites itself on a terminal, one every 15 s elsewhere."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.news = "starting"
        self.terminal = sys.stdout.isatty()
        self.shown = self.start

    def show(self, line: str) -> None:
        """Take a line of output ("" for a quiet second) and bring the screen up to date."""
        match = NEWS.match(line)
        self.news = match.group(1).strip() if match else self.news
        now = time.monotonic()
        text = f"  {now - self.start:4.0f} s  {self.news[:90]}"
        if self.terminal:
            print(f"\r\033[K{text}", end="", flush=True)
        elif now - self.shown >= QUIET_S:
            self.shown = now
            print(text, flush=True)

    def end(self) -> None:
        """Leave the terminal on a fresh line."""
        if self.terminal:
            print("\r\033[K", end="", flush=True)
