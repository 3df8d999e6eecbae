"""A prompt's responses as the loop sees them: scores, rewards, advantages, and the rows for the learner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import pstdev
from typing import Any

import torch

from cluster.config import RunConfig
from cluster.errors import RunFailure
from cluster.training.shuffle_bonus import OrderBonus
from data.records import Rollout, TrainSample
from learner.advantages import compute_advantages
from rewards import Score


@dataclass
class Group:
    """A prompt's responses with their scores and advantages.

    Attributes:
        clip: Object reference of the decoded clip.
        rewards: Total of each score, with what the response's length costs and what the order of frames gains.
        staleness: Learner version minus the oldest behaviour version in the group, when it was taken.
        advantages: Of each response, once the batch is complete; empty where the group is not part of it.
        order: How the policy did with the frames shuffled; None where the task has no such bonus.
    """

    rollout: Rollout
    clip: Any
    scores: list[Score]
    rewards: list[float]
    staleness: int
    advantages: list[float] = field(default_factory=list)
    order: OrderBonus | None = None

    def __post_init__(self) -> None:
        """Let no reward that is no finite number reach the others: a spread of NaN would drop the group in silence.

        Raises:
            RunFailure: a response has such a reward.
        """
        for index, reward in enumerate(self.rewards):
            if not math.isfinite(reward):
                raise RunFailure(
                    f"response {index} to prompt {self.rollout.prompt.id} has a reward of {reward}, out of "
                    f"{self.scores[index].rewards}. A reward must be a finite number: look at reward.weights and "
                    "reward.shuffle_bonus, which multiply and add to what the rules give."
                )

    @property
    def spread(self) -> float:
        """Standard deviation of the rewards, 0 only where they are equal: such a group has no advantages."""
        return pstdev(self.rewards)

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


def set_advantages(groups: Sequence[Group], config: RunConfig) -> None:
    """Compare every response with its group, or with the batch where the objective says so.

    Args:
        groups: The whole batch.
    """
    rewards = torch.tensor([group.rewards for group in groups], dtype=torch.float64)
    for group, its in zip(
        groups, compute_advantages(rewards, config.recipe.advantages).tolist(), strict=True
    ):
        group.advantages = its
