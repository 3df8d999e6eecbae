"""The producing side of the loop: prompts in, scored groups out, never further ahead than the staleness bound allows.

Groups are submitted in the order of the prompt stream and taken in that order, so that what a step trains on does not
depend on which worker was fast.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from actors.rollout_fleet import RolloutRequest, Submitted
from cluster.clips import take_usable
from cluster.config import RunConfig
from cluster.prompts import PromptStream
from cluster.shuffle_bonus import OrderBonus, score_order, submit_with_shuffled
from cluster.system import System
from data.records import Rollout, SamplingSettings, TrainSample
from learner.advantages import compute_advantages, overlong_penalty
from rewards import Score

# Spreads the seeds of a run's prompts; a run's length stays far below it.
SEED_STRIDE = 1_000_003


@dataclass
class Group:
    """A prompt's responses with their scores and advantages.

    Attributes:
        clip: Object reference of the decoded clip.
        rewards: Total of each score, with what the response's length costs and what the order of frames gains.
        staleness: Learner version minus the oldest behaviour version in the group, when it was taken.
        order: How the policy did with the frames shuffled; None where the task has no such bonus.
    """

    rollout: Rollout
    clip: Any
    scores: list[Score]
    rewards: list[float]
    staleness: int
    advantages: list[float] = field(default_factory=list)
    order: OrderBonus | None = None

    @property
    def informative(self) -> bool:
        """Whether the responses differ in reward; a group that does not has no gradient."""
        return len(set(self.rewards)) > 1

    def samples(self) -> list[TrainSample]:
        """Its rows for the learner."""
        rollout = self.rollout
        return [
            TrainSample(
                prompt=rollout.prompt,
                prompt_token_ids=rollout.prompt_token_ids,
                response_token_ids=response.token_ids,
                clip=self.clip,
                rollout_logprobs=response.logprobs,
                advantage=advantage,
            )
            for response, advantage in zip(rollout.responses, self.advantages, strict=True)
        ]


@dataclass
class Taken:
    """What one step gets.

    Attributes:
        groups: In the order of the prompt stream.
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
    """A group on its way, and the one on shuffled frames beside it where there is one."""

    clip: Any
    submitted: Submitted
    shuffled: Submitted | None


class GroupProducer:
    """Submits prompts to the rollout workers and hands out finished groups.

    Capacity rule: with V weight versions trained, prompts for steps up to V + `max_staleness` may be under way, so no
    group can be more than `max_staleness` versions old when its turn comes. A bound of 0 is strictly on-policy.

    Attributes:
        frontier: Stream position after the last group taken; where a resumed run goes on.
    """

    def __init__(self, config: RunConfig, system: System, stream: PromptStream, position: int = 0) -> None:
        self._config, self._system, self._stream = config, system, stream
        self._next = self.frontier = position
        self._pending: deque[_Pending | None] = deque()
        self._steps_submitted: int | None = None
        self._decode_seconds = 0.0

    def fill(self, steps_trained: int) -> None:
        """Submit prompts up to the capacity, and start decoding the clips of those that come next."""
        if self._steps_submitted is None:
            self._steps_submitted = steps_trained
        last = min(steps_trained + 1 + self._config.grpo.max_staleness, self._config.grpo.steps)
        while self._steps_submitted < last:
            self._submit(self._config.grpo.prompts_per_step)
            self._steps_submitted += 1
        ahead = self._config.data.prefetch * self._config.grpo.prompts_per_step
        self._system.clips.prefetch(self._stream[self._next + i] for i in range(ahead))

    def take(self, count: int) -> Taken:
        """Wait for the next `count` groups, score them and compute advantages."""
        pending, skipped = self._pop(count)
        started = time.monotonic()
        rollouts = self._system.fleet.gather([item.submitted for item in pending])
        beside = self._system.fleet.gather([item.shuffled for item in pending if item.shuffled])
        sampled = time.monotonic()
        scores = self._system.rewards.score([*rollouts, *beside])
        scored = time.monotonic()
        usual, shuffled = scores[: len(rollouts)], iter(scores[len(rollouts) :])
        groups = [
            self._group(item, rollout, its, next(shuffled) if item.shuffled else None)
            for item, rollout, its in zip(pending, rollouts, usual, strict=True)
        ]
        set_advantages(groups, self._config)
        decode, self._decode_seconds = self._decode_seconds, 0.0
        seconds = {"decode": decode, "rollout": sampled - started, "reward": scored - sampled}
        return Taken(groups, skipped, seconds)

    def take_more(self, count: int) -> Taken:
        """`take` beyond what `fill` submitted, for groups that turned out to be of no use."""
        waiting = sum(item is not None for item in self._pending)
        if waiting < count:
            self._submit(count - waiting)
        return self.take(count)

    def _submit(self, count: int) -> None:
        """Submit `count` prompts; those that cannot be used are passed over and replaced by the next."""
        started = time.monotonic()
        found = take_usable(self._stream, self._system.clips, self._next, count)
        requests = [
            RolloutRequest(prompt, self._system.encoder.prompt_text(prompt), clip, self._sampling(position))
            for position, (prompt, clip) in enumerate(found, start=self._next)
            if clip is not None
        ]
        self._decode_seconds += time.monotonic() - started
        # Strictly on-policy, nothing else is being sampled now, so waiting for the whole step costs little.
        together = self._config.grpo.max_staleness == 0
        submitted = iter(submit_with_shuffled(self._system, requests, self._config, together))
        self._pending += [None if clip is None else _Pending(clip, *next(submitted)) for _, clip in found]
        self._next += len(found)

    def _pop(self, count: int) -> tuple[list[_Pending], int]:
        found: list[_Pending] = []
        skipped = 0
        while len(found) < count:
            item = self._pending.popleft()
            self.frontier += 1
            if item is None:
                skipped += 1
            else:
                found.append(item)
        return found, skipped

    def _sampling(self, position: int) -> SamplingSettings:
        rollout = self._config.rollout
        return SamplingSettings(
            group_size=rollout.group_size,
            temperature=rollout.temperature,
            max_tokens=rollout.max_response_tokens,
            seed=self._config.run.seed * SEED_STRIDE + position,
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


def set_advantages(groups: Sequence[Group], config: RunConfig) -> None:
    """Compare every response with its group, or with the batch where the objective says so."""
    rewards = torch.tensor([group.rewards for group in groups])
    for group, its in zip(
        groups, compute_advantages(rewards, config.recipe.advantages).tolist(), strict=True
    ):
        group.advantages = its


def admit(groups: Sequence[Group], config: RunConfig) -> list[Group]:
    """The groups worth an update: not too stale and, without a KL penalty, with a spread of rewards."""
    return [
        group
        for group in groups
        if group.staleness <= config.grpo.max_staleness and (group.informative or config.grpo.kl_coef > 0)
    ]
