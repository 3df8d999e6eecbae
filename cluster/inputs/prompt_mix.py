"""The order in which prompts are trained: seeded shuffles of pools, drawn from by weight, mixed or one task a step."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from data.schema import Task, VideoPrompt

# Steps of one task each are shared out in blocks of so many.
STEPS_BLOCK = 64

Wanted = Callable[[VideoPrompt, str], bool]
"""Whether a prompt that has come up is to be taken; the text names the place it came up at, for a seed."""


@dataclass(frozen=True)
class Pool:
    """Prompts that are shuffled together.

    Attributes:
        name: Of the dataset; empty where there is only one.
        weight: Share among the prompts that are drawn, relative to other pools.
    """

    name: str
    prompts: Sequence[VideoPrompt]
    weight: float


@dataclass(frozen=True)
class Draw:
    """A prompt whose turn has come.

    Attributes:
        number: Counts the draws of a run from 0; what is sampled for the prompt is seeded by it.
    """

    number: int
    prompt: VideoPrompt


class PromptStream:
    """An endless, seeded shuffle of prompts: every epoch visits each once, in another order.

    The prompt at a position depends on nothing but the seed and the position.
    """

    def __init__(self, prompts: Sequence[VideoPrompt], seed: int | str) -> None:
        self._prompts = list(prompts)
        self._seed = seed
        self._order: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, position: int) -> VideoPrompt:
        epoch, place = divmod(position, len(self._prompts))
        if self._order[0] != epoch:
            order = list(range(len(self._prompts)))
            random.Random(f"{self._seed}/{epoch}").shuffle(order)
            self._order = (epoch, order)
        return self._prompts[self._order[1][place]]


class Schedule:
    """Which of several kinds has each turn, so that every block of turns has its shares to within one turn.

    Systematic sampling: points at equal distances on the line of the weights, shifted by chance, then shuffled. Where
    weights are whole numbers that add up to the block's length, each kind has exactly as many turns. The kind at a
    turn depends on nothing but the seed and the turn.
    """

    def __init__(self, weights: Sequence[float], block: int, seed: str) -> None:
        self._edges = list(accumulate(weights))
        self._block, self._seed = block, seed
        self._turns: tuple[int, list[int]] = (-1, [])

    def __getitem__(self, turn: int) -> int:
        block, place = divmod(turn, self._block)
        if self._turns[0] != block:
            self._turns = (block, self._lay_out(random.Random(f"{self._seed}/{block}")))
        return self._turns[1][place]

    def _lay_out(self, rng: random.Random) -> list[int]:
        shift, whole, last = rng.random(), self._edges[-1], len(self._edges) - 1
        # The product first: it keeps whole weights whole.
        points = ((place + shift) * whole / self._block for place in range(self._block))
        turns = [min(bisect_right(self._edges, point), last) for point in points]
        rng.shuffle(turns)
        return turns


class PromptMix:
    """Draws prompts from pools; in batches of mixed tasks, or of one task each.

    With one pool the prompt of a draw depends on nothing but the seed and its number. With several, each pool counts
    its own, and `state_dict` has the counts.

    Args:
        by_task: All prompts of a step are of one task, whose turns come by the weight of its prompts.
    """

    def __init__(self, pools: Sequence[Pool], seed: int, by_task: bool = False) -> None:
        self.size = sum(len(pool.prompts) for pool in pools)
        self._number = 0
        split = _split_by_task(pools) if by_task else {None: list(pools)}
        self._lanes = {task: _Lane(str(task or ""), its, seed) for task, its in split.items()}
        self._tasks = list(self._lanes)
        weights = [lane.weight for lane in self._lanes.values()]
        self._turns = Schedule(weights, max(STEPS_BLOCK, len(weights)), f"{seed}/tasks")

    def task_of(self, step: int) -> Task | None:
        """The task of a step's prompts, steps counted from 1; None where tasks are mixed."""
        return self._tasks[self._turns[step - 1]]

    def kind(self, prompt: VideoPrompt) -> Task | None:
        """The `task_of` the steps that a prompt can be drawn for."""
        return None if None in self._lanes else prompt.task

    def draw(self, step: int, count: int, wanted: Wanted = lambda prompt, place: True) -> list[Draw]:
        """The next `count` prompts for a step, of those that are wanted."""
        lane, first = self._lanes[self.task_of(step)], self._number
        self._number += count
        return [Draw(first + place, lane.draw(wanted)) for place in range(count)]

    def prompts(self) -> dict[str, VideoPrompt]:
        """Every prompt by its id."""
        return {prompt.id: prompt for lane in self._lanes.values() for prompt in lane.prompts()}

    def state_dict(self) -> dict[str, Any]:
        """How far it is; JSON."""
        lanes = {str(task or ""): lane.state_dict() for task, lane in self._lanes.items()}
        return {"number": self._number, "lanes": lanes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._number = state["number"]
        for task, lane in self._lanes.items():
            lane.load_state_dict(state["lanes"][str(task or "")])


class _Lane:
    """Pools that share one queue."""

    def __init__(self, name: str, pools: Sequence[Pool], seed: int) -> None:
        self.weight = sum(pool.weight for pool in pools)
        self._pools = list(pools)
        # One pool alone is shuffled by the seed itself.
        self._seeds = ["/".join(filter(None, (str(seed), pool.name, name))) for pool in pools]
        self._streams = [
            PromptStream(pool.prompts, own) for pool, own in zip(pools, self._seeds, strict=True)
        ]
        size = sum(len(pool.prompts) for pool in pools)
        self._turns = Schedule([pool.weight for pool in pools], size, f"{seed}/{name}/pools")
        self._drawn = 0
        self._places = [0] * len(pools)

    def draw(self, wanted: Wanted) -> VideoPrompt:
        pool = self._turns[self._drawn]
        self._drawn += 1
        while True:
            place = self._places[pool]
            self._places[pool] += 1
            prompt = self._streams[pool][place]
            if wanted(prompt, f"{self._seeds[pool]}/{place}"):
                return prompt

    def prompts(self) -> Iterable[VideoPrompt]:
        return (prompt for pool in self._pools for prompt in pool.prompts)

    def state_dict(self) -> dict[str, Any]:
        names = [pool.name for pool in self._pools]
        return {"drawn": self._drawn, "places": dict(zip(names, self._places, strict=True))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._drawn = state["drawn"]
        self._places = [state["places"][pool.name] for pool in self._pools]


def _split_by_task(pools: Sequence[Pool]) -> dict[Task | None, list[Pool]]:
    """The pools of each task; a pool's weight is split as its prompts are."""
    split: dict[Task | None, list[Pool]] = defaultdict(list)
    for pool in pools:
        by_task: dict[Task, list[VideoPrompt]] = defaultdict(list)
        for prompt in pool.prompts:
            by_task[prompt.task].append(prompt)
        for task, its in sorted(by_task.items()):
            weight = pool.weight * len(its) / len(pool.prompts)
            split[task].append(replace(pool, prompts=its, weight=weight))
    return dict(sorted(split.items(), key=lambda item: str(item[0])))
