"""A group whose rewards are equal moves nothing by its reward: advantage and policy gradient are 0 exactly.

What is left of it under a KL penalty is the gradient of that penalty, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from learner.advantages import compute_advantages
from learner.losses import micro_batch_loss
from learner.objective import kl_to_reference, token_weights
from learner.rank import LearnerRank
from learner.recipes import RECIPES, Advantages
from learner.settings import LearnerSettings
from rewards.result import weighted_sum
from tests.learner.test_rank import near_policy, step
from tests.learner.tiny import make_samples

KINDS = get_args(Advantages)
KL = 0.04
LENGTHS = (3, 5, 1, 7, 2, 4, 6)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COMPONENTS = st.dictionaries(st.sampled_from("abcde"), st.floats(-1e6, 1e6), min_size=1)
WEIGHTS = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1e3))


@pytest.mark.parametrize("kind", KINDS)
@given(reward=FLOATS, size=st.integers(2, 24), other=st.lists(st.floats(-10, 10), min_size=24, max_size=24))
@example(reward=0.1 + 0.2, size=8, other=[0.0] * 24)
@example(reward=1e6 + 0.1, size=5, other=[0.0] * 24)
@example(reward=98765.4, size=12, other=[0.7] * 24)
def test_equal_rewards_have_no_advantage(
    kind: Advantages, reward: float, size: int, other: list[float]
) -> None:
    """Whatever their size, and whatever the groups beside them in the batch."""
    rewards = torch.tensor([[reward] * size, other[:size]], dtype=torch.float64)
    assert compute_advantages(rewards, kind)[0].tolist() == [0.0] * size
    assert compute_advantages(rewards[:1], kind).tolist() == [[0.0] * size]


@pytest.mark.parametrize("kind", KINDS)
@given(components=COMPONENTS, weights=WEIGHTS, size=st.integers(2, 16))
def test_equal_components_have_no_advantage(
    kind: Advantages, components: dict[str, float], weights: dict[str, float], size: int
) -> None:
    rewards = [weighted_sum(dict(components), weights) for _ in range(size)]
    assert compute_advantages(torch.tensor([rewards], dtype=torch.float64), kind).tolist() == [[0.0] * size]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gap", [1e-6, 1e-9])
def test_a_small_spread_is_one(kind: Advantages, gap: float) -> None:
    """Beside large rewards too, where float32 has no digits left for it."""
    found = compute_advantages(torch.tensor([[1e6] * 3 + [1e6 + gap]], dtype=torch.float64), kind)[0]
    assert found[3] > 0 > found[0] == found[1] == found[2]


def gradient_of(losses: Callable[[Tensor], Tensor]) -> Tensor:
    logprobs = torch.linspace(-3.0, -0.1, sum(LENGTHS), requires_grad=True)
    losses(logprobs).backward()
    assert logprobs.grad is not None
    return logprobs.grad


@pytest.mark.parametrize("name", RECIPES)
def test_only_the_kl_penalty_moves_them(name: str) -> None:
    """Of every objective, through its own advantages, with responses on both sides of every bound."""
    tokens, lengths = sum(LENGTHS), torch.tensor(LENGTHS)
    noise = torch.Generator().manual_seed(0)
    rollout, reference = torch.linspace(-3.0, -0.1, tokens) + torch.randn(2, tokens, generator=noise)
    rewards = torch.full((1, len(LENGTHS)), 98765.4, dtype=torch.float64)
    advantages = compute_advantages(rewards, RECIPES[name].advantages)[0].float()
    batch: Any = SimpleNamespace(
        lengths=lengths,
        targets=range(tokens),
        rollout_logprobs=rollout,
        advantages=advantages,
        per_token=lambda values: values.repeat_interleave(lengths),
    )
    settings = LearnerSettings(kl_coef=KL, longest_response=9).pursuing(RECIPES[name])

    def whole(towards: Tensor | None) -> Callable[[Tensor], Tensor]:
        def loss(logprobs: Tensor) -> Tensor:
            scores: Any = SimpleNamespace(logprobs=logprobs, entropy=torch.zeros(tokens))
            return micro_batch_loss(batch, scores, towards, "grpo", settings, tokens, len(LENGTHS))[0]

        return loss

    def penalty(logprobs: Tensor) -> Tensor:
        weights = token_weights(lengths, tokens, len(LENGTHS), settings.aggregation, 9)
        kl = KL * kl_to_reference(logprobs, reference, settings.kl_estimator)
        return (kl * batch.per_token(weights)).sum()

    assert gradient_of(whole(None)).tolist() == [0.0] * tokens
    alone = gradient_of(penalty)
    assert torch.equal(gradient_of(whole(reference)), alone)
    assert alone.abs().min() > 0


@pytest.mark.e2e
def test_a_step_on_equal_rewards_is_none(start_rank: Callable[..., LearnerRank], policy_folder: Path) -> None:
    """Without a penalty; with one whose reference is the policy itself too, as at a run's first step."""
    rewards = torch.full((2, 3), 100.1, dtype=torch.float64)
    flat = compute_advantages(rewards, "group_normalised").flatten().tolist()
    samples = near_policy(make_samples(2, 3), policy_folder)
    samples = [replace(sample, advantage=value) for sample, value in zip(samples, flat, strict=True)]
    assert step(start_rank(micro_batch_tokens=80), samples, "grpo").grad_norm == 0.0
