"""How the commands beside `cluster.launch` end: with a message and its exit code, never with a traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from cluster.errors import UserError
from data.failures import ActorFailure

INTERRUPTED = 130


@contextmanager
def ended_by_a_message(after_interrupt: str) -> Iterator[None]:
    """End the command with a message if what happens inside fails or is interrupted, by SIGTERM too.

    Args:
        after_interrupt: What an interrupted user can do.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except (UserError, ActorFailure) as error:
        _leave(str(error), getattr(error, "exit_code", UserError.exit_code))
    except KeyboardInterrupt:
        _leave(f"Interrupted. {after_interrupt}", INTERRUPTED)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _leave(message: str, code: int) -> NoReturn:
    print(message, file=sys.stderr, flush=True)
    raise typer.Exit(code)
