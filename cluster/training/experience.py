"""The producing side of the loop: prompts in, scored groups out, never further ahead than the staleness bound allows.

Groups are submitted in the order their prompts are drawn and taken in that order, so that what a step trains on does
not depend on which worker was fast.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from actors.rollout_fleet import RolloutRequest, Submitted
from cluster.config import RunConfig
from cluster.inputs.clips import take_usable
from cluster.inputs.prompt_mix import Draw, PromptMix
from cluster.runtime.system import System
from cluster.training.curriculum import Curriculum
from cluster.training.groups import Group
from cluster.training.shuffle_bonus import score_order, submit_with_shuffled
from data.records import Rollout, SamplingSettings
from data.schema import Task
from learner.advantages import overlong_penalty
from rewards import Score

# Spreads the seeds of a run's prompts; a run's length stays far below it.
SEED_STRIDE = 1_000_003


@dataclass
class Taken:
    """What one step gets.

    Attributes:
        groups: In the order their prompts were drawn.
        skipped: Prompts passed over because of their clip or their length.
        seconds: Waiting time per stage: `decode`, `rollout`, `reward`.
    """

    groups: list[Group]
    skipped: int
    seconds: dict[str, float] = field(default_factory=dict)

    def plus(self, more: Taken) -> Taken:
        """Both together."""
        seconds = {stage: self.seconds[stage] + more.seconds[stage] for stage in self.seconds}
        return Taken(self.groups + more.groups, self.skipped + more.skipped, seconds)


@dataclass(frozen=True)
class _Pending:
    """A draw whose turn has not come; without a clip where its prompt cannot be used.

    `shuffled` is the group on shuffled frames beside it, where its task has one.
    """

    draw: Draw
    clip: Any
    submitted: Submitted | None
    shuffled: Submitted | None


class GroupProducer:
    """Submits prompts to the rollout workers and hands out finished groups.

    Capacity rule: with V weight versions trained, groups for steps up to V + `max_staleness` may be under way, so no
    group can be more than `max_staleness` versions old when its turn comes. A bound of 0 is strictly on-policy.

    Args:
        mix: What the curriculum draws from.
        drawn: What a resumed run had drawn and not taken, as `waiting` gave it.
    """

    def __init__(
        self,
        config: RunConfig,
        system: System,
        mix: PromptMix,
        curriculum: Curriculum,
        drawn: Sequence[Sequence[Any]] = (),
    ) -> None:
        self._config, self._system, self._mix, self._curriculum = config, system, mix, curriculum
        prompts = mix.prompts() if drawn else {}
        self._again = [Draw(number, prompts[name]) for number, name in drawn]
        self._pending: list[_Pending] = []
        self._decode_seconds = 0.0

    @property
    def waiting(self) -> list[tuple[int, str]]:
        """Number and prompt id of what was drawn and not taken yet; what a checkpoint keeps."""
        return [(item.draw.number, item.draw.prompt.id) for item in self._pending]

    def fill(self, steps_trained: int) -> None:
        """Submit prompts up to the capacity, and start decoding the clips of those that come next."""
        self._submit_again()
        size, first = self._config.grpo.prompts_per_step, steps_trained + 1
        last = min(first + self._config.grpo.max_staleness, self._config.grpo.steps)
        wanted: Counter[Task | None] = Counter()
        for step in range(first, last + 1):
            wanted[self._mix.task_of(step)] += size
            self._have(step, wanted[self._mix.task_of(step)])
        self._prefetch(range(last + 1, last + 1 + self._config.data.prefetch))

    def take(self, step: int, count: int) -> Taken:
        """Wait for the next `count` groups for a step and score them.

        They are the first under way that fit the step; what `fill` did not submit, for groups that turned out to be of
        no use, is submitted now.
        """
        self._have(step, count)
        pending, skipped = self._pop(step, count)
        started = time.monotonic()
        rollouts = self._system.fleet.gather([item.submitted for item in pending if item.submitted])
        beside = self._system.fleet.gather([item.shuffled for item in pending if item.shuffled])
        sampled = time.monotonic()
        scores = self._system.rewards.score([*rollouts, *beside])
        scored = time.monotonic()
        usual, shuffled = scores[: len(rollouts)], iter(scores[len(rollouts) :])
        groups = [
            self._group(item, rollout, its, next(shuffled) if item.shuffled else None)
            for item, rollout, its in zip(pending, rollouts, usual, strict=True)
        ]
        decode, self._decode_seconds = self._decode_seconds, 0.0
        seconds = {"decode": decode, "rollout": sampled - started, "reward": scored - sampled}
        return Taken(groups, skipped, seconds)

    def _have(self, step: int, count: int) -> None:
        """See to it that `count` groups that fit the step are under way."""
        lacking = count - sum(item.submitted is not None for item in self._pending if self._fits(item, step))
        while lacking > 0:
            size = min(lacking, self._config.grpo.prompts_per_step)
            self._submit(step, size)
            lacking -= size

    def _fits(self, item: _Pending, step: int) -> bool:
        return self._mix.kind(item.draw.prompt) == self._mix.task_of(step)

    def _submit(self, step: int, count: int) -> None:
        """Submit `count` prompts; those that cannot be used are passed over and replaced by the next."""
        started = time.monotonic()
        draw = partial(self._curriculum.sample, step)
        found = take_usable(draw, self._system.clips, count, self._mix.size)
        self._decode_seconds += time.monotonic() - started
        self._start(found)

    def _submit_again(self) -> None:
        """Submit what an interrupted run had drawn, a step's worth at a time as it did."""
        size = self._config.grpo.prompts_per_step
        for first in range(0, len(self._again), size):
            drawn = self._again[first : first + size]
            clips = self._system.clips.request(draw.prompt for draw in drawn)
            self._start(list(zip(drawn, clips, strict=True)))
        self._again = []

    def _start(self, found: Sequence[tuple[Draw, Any]]) -> None:
        requests = [
            RolloutRequest(
                draw.prompt, self._system.encoder.prompt_text(draw.prompt), clip, self._sampling(draw.number)
            )
            for draw, clip in found
            if clip is not None
        ]
        # Strictly on-policy, nothing else is being sampled now, so waiting for the whole step costs little.
        together = self._config.grpo.max_staleness == 0
        submitted = iter(submit_with_shuffled(self._system, requests, self._config, together))
        self._pending += [
            _Pending(draw, clip, *((None, None) if clip is None else next(submitted))) for draw, clip in found
        ]

    def _pop(self, step: int, count: int) -> tuple[list[_Pending], int]:
        found: list[_Pending] = []
        kept: list[_Pending] = []
        skipped = 0
        for item in self._pending:
            if len(found) == count or not self._fits(item, step):
                kept.append(item)
            elif item.submitted is None:
                skipped += 1
            else:
                found.append(item)
        self._pending = kept
        return found, skipped

    def _prefetch(self, steps: Iterable[int]) -> None:
        """Start decoding what the steps would be given now; a curriculum may come to choose otherwise."""
        before = self._curriculum.state_dict()
        size = self._config.grpo.prompts_per_step
        ahead = [draw.prompt for step in steps for draw in self._curriculum.sample(step, size)]
        self._curriculum.load_state_dict(before)
        self._system.clips.prefetch(ahead)

    def _sampling(self, number: int) -> SamplingSettings:
        rollout = self._config.rollout
        return SamplingSettings(
            group_size=rollout.group_size,
            temperature=rollout.temperature,
            max_tokens=rollout.max_response_tokens,
            seed=self._config.run.seed * SEED_STRIDE + number,
        )

    def _group(
        self, item: _Pending, rollout: Rollout, scores: list[Score], shuffled: list[Score] | None
    ) -> Group:
        lengths = torch.tensor([len(response.token_ids) for response in rollout.responses])
        section = self._config.rollout
        penalties = overlong_penalty(lengths, section.max_response_tokens, self._config.grpo.overlong_buffer)
        rewards = [score.total + penalty for score, penalty in zip(scores, penalties.tolist(), strict=True)]
        order = score_order(rollout.prompt.task, scores, shuffled, self._config) if shuffled else None
        if order:
            rewards = [reward + bonus for reward, bonus in zip(rewards, order.bonuses, strict=True)]
        oldest = min(version for response in rollout.responses for _, _, version in response.weight_versions)
        return Group(rollout, item.clip, scores, rewards, self._system.version - oldest, order=order)
