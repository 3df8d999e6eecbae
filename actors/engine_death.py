"""The death of an engine: noticed whatever a worker waits for, and told with its cause.

vLLM's client marks a dead engine, and raises at the next call. A call that is under way then, such as one that receives
weights, would wait for its answer for ever. What killed the engine is in the log of its processes only.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

POLL_SECONDS = 0.25

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


class HasEngine(Protocol):
    """A worker around an engine; None before it is built."""

    _engine: AsyncLLM | None


Worker = TypeVar("Worker", bound=HasEngine)


def unless_engine_dies(
    method: Callable[Concatenate[Worker, Arguments], Coroutine[Any, Any, Result]],
) -> Callable[Concatenate[Worker, Arguments], Coroutine[Any, Any, Result]]:
    """Let a coroutine of a worker end when the engine that it waits for is dead, and say why the engine died.

    Raises:
        EngineFailure: in place of vLLM's error, where this process writes its errors to a file.
    """

    @functools.wraps(method)
    async def watching(worker: Worker, /, *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return await _watched(worker, method(worker, *arguments, **named))
        except Exception as error:
            log = Path(os.path.realpath(STANDARD_ERROR))
            if not any(words in str(error) for words in SAYS_NO_MORE) or not log.is_file():
                raise
            end = "\n".join(end_of(log))
            raise EngineFailure(f"the engine died; {log} on {os.uname().nodename} ends:\n{end}") from error

    return watching


async def _watched(worker: HasEngine, coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Await a coroutine; give it up when the engine is dead and the coroutine has not noticed by the next look."""
    task = asyncio.ensure_future(coroutine)
    dead = False
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=POLL_SECONDS)
            engine = worker._engine
            if dead and engine is not None and not task.done():
                raise engine.dead_error
            dead = engine is not None and engine.errored
    finally:
        task.cancel()
    return task.result()


def end_of(log: Path) -> list[str]:
    """The last lines of a log that are not empty, each cut to a bounded length."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line[:QUOTED_CHARACTERS] for line in lines if line.strip()][-QUOTED_LINES:]
