"""A Ray actor that answers, waits, raises or dies as told. It imports little, so that it starts at once."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import ray

from actors.fleet import call
from actors.start_together import Turn
from data.failures import ActorFailure
from data.records import Rollout, SamplingSettings
from data.schema import VideoPrompt


@ray.remote(num_cpus=0, max_concurrency=100)
class Obedient:
    """Also takes a rollout worker's place where only the calls matter."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def wait(self, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return self.name

    async def fail(self) -> None:
        raise ValueError(f"{self.name} cannot do that")

    async def relay(self) -> None:
        raise ActorFailure("someone-else", "working", "gone")

    async def die(self) -> None:
        os._exit(1)

    async def generate(
        self,
        prompt: VideoPrompt,
        text: str,
        clip: Any,
        sampling: SamplingSettings,
        turn: Turn | None,
        tower_digest: str,
        shuffle_seed: int | None,
    ) -> Rollout:
        if text == "die":
            await self.die()
        if text == "hang":
            await self.wait(60)
        if text == "slow":
            await self.wait(0.5)
        if text == "seed":
            return Rollout(prompt, [], [], seconds=-1.0 if shuffle_seed is None else shuffle_seed)
        if text == "turn":
            return Rollout(prompt, [], [], seconds=turn.place + turn.size / 10 if turn else -1.0)
        return Rollout(prompt, [], [], worker=self.name)


def start_actors() -> dict[str, Any]:
    """Two of them, `a` and `b`."""
    actors = {name: Obedient.remote(name) for name in ("a", "b")}  # type: ignore[attr-defined]
    call(actors, "wait", 0, what="starting", deadline_s=120)
    return actors
