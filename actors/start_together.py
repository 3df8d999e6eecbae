"""Makes what an engine computes together independent of when requests reach it.

vLLM schedules whatever is there when one of its steps begins, and what is computed together decides the last digits of
a log-probability. So that a seed gives the same run twice, the requests of a batch are held until the last one is in;
the engine then takes them in the order of their places.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM


@dataclass(frozen=True)
class Turn:
    """A request's place among those that one engine starts together.

    Attributes:
        batch: The same for all of them, and for no others.
        place: Position in the order, from 0; the engine's priority.
        size: How many there are.
    """

    batch: int
    place: int
    size: int


class StartTogether:
    """Holds an engine while the requests of a batch enter it. For one event loop."""

    def __init__(self, engine: AsyncLLM) -> None:
        self._engine = engine
        self._missing: dict[int, int] = {}
        self._pauses: dict[int, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def entering(self, turn: Turn | None) -> AsyncIterator[None]:
        """Hand a request to the engine inside this. One that fails to enter does not keep the others waiting."""
        if turn is None:
            yield
            return
        try:
            await self._paused(turn)
            yield
        finally:
            await self._entered(turn)

    async def _paused(self, turn: Turn) -> None:
        """The first of a batch pauses the engine; the others wait until it is."""
        if turn.batch not in self._pauses:
            self._missing[turn.batch] = turn.size
            pause = self._engine.pause_generation(mode="keep", clear_cache=False)
            self._pauses[turn.batch] = asyncio.ensure_future(pause)
        await self._pauses[turn.batch]

    async def _entered(self, turn: Turn) -> None:
        self._missing[turn.batch] -= 1
        if self._missing[turn.batch] == 0:
            del self._missing[turn.batch], self._pauses[turn.batch]
            await self._engine.resume_generation()
