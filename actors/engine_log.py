"""Why an engine died: its processes write it to the worker's log, the error that reaches the worker only says so."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

# With what goes before them, no more than a failure quotes of an error's text.
QUOTED_LINES = 10
QUOTED_CHARACTERS = 300
TAIL_BYTES = 2**16
STANDARD_ERROR = "/proc/self/fd/2"
# vLLM's: of an engine that died, and of one that did not come up.
SAYS_NO_MORE = ("EngineCore encountered an issue", "core initialization failed")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class EngineFailure(RuntimeError):
    """An engine is dead; the text names the log of its processes and quotes the end of it."""


def quoting_engine_log(
    method: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Let a coroutine that finds the engine dead say why.

    Raises:
        EngineFailure: in place of vLLM's error, where this process writes its errors to a file.
    """

    @functools.wraps(method)
    async def quoting(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return await method(*arguments, **named)
        except Exception as error:
            log = Path(os.path.realpath(STANDARD_ERROR))
            if not any(words in str(error) for words in SAYS_NO_MORE) or not log.is_file():
                raise
            end = "\n".join(end_of(log))
            raise EngineFailure(f"the engine died; {log} on {os.uname().nodename} ends:\n{end}") from error

    return quoting


def end_of(log: Path) -> list[str]:
    """The last lines of a log that are not empty, each cut to a bounded length."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line[:QUOTED_CHARACTERS] for line in lines if line.strip()][-QUOTED_LINES:]
