"""Every formula against a slow float64 loop that follows the paper symbol by symbol."""

from __future__ import annotations

import math
import random

import pytest
import torch

from learner import objective


def ratios_and_advantages(count: int = 200) -> tuple[list[float], list[float], list[float]]:
    """Log-probabilities on both sides of every bound, with advantages of both signs."""
    generator = random.Random(3)
    policy = [generator.uniform(-4.0, 0.0) for _ in range(count)]
    rollout = [value + generator.uniform(-1.5, 1.5) for value in policy]
    return policy, rollout, [generator.uniform(-2.0, 2.0) for _ in range(count)]


def slow_policy_loss(
    policy: float, rollout: float, advantage: float, low: float, high: float, cap: float
) -> float:
    ratio = math.exp(policy - rollout)
    clipped = min(max(ratio, 1 - low), 1 + high)
    return -min(min(ratio, cap) * advantage, clipped * advantage)


def test_policy_loss_is_the_clipped_surrogate() -> None:
    policy, rollout, advantages = ratios_and_advantages()
    losses = objective.policy_loss(
        torch.tensor(policy, dtype=torch.float64),
        torch.tensor(rollout, dtype=torch.float64),
        torch.tensor(advantages, dtype=torch.float64),
        clip_low=0.2,
        clip_high=0.28,
        importance_cap=2.0,
    )
    slow = [slow_policy_loss(*row, 0.2, 0.28, 2.0) for row in zip(policy, rollout, advantages, strict=True)]
    torch.testing.assert_close(losses, torch.tensor(slow, dtype=torch.float64))


def slow_gradient(
    policy: float, rollout: float, advantage: float, low: float, high: float, cap: float
) -> float:
    """d loss / d log-probability: none where clipped, the truncated ratio times the advantage elsewhere."""
    ratio = math.exp(policy - rollout)
    if (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - low):
        return 0.0
    return -min(ratio, cap) * advantage


def test_truncation_keeps_the_gradient_and_clipping_drops_it() -> None:
    policy, rollout, advantages = ratios_and_advantages()
    logprobs = torch.tensor(policy, dtype=torch.float64, requires_grad=True)
    others = torch.tensor(rollout, dtype=torch.float64), torch.tensor(advantages, dtype=torch.float64)
    objective.policy_loss(
        logprobs, *others, clip_low=0.2, clip_high=0.28, importance_cap=2.0
    ).sum().backward()
    slow = [slow_gradient(*row, 0.2, 0.28, 2.0) for row in zip(policy, rollout, advantages, strict=True)]
    torch.testing.assert_close(logprobs.grad, torch.tensor(slow, dtype=torch.float64))
    ratio = objective.importance_ratio(logprobs.detach(), others[0])
    clipped = objective.clipped_fraction(ratio, others[1], 0.2, 0.28)
    assert clipped.tolist() == [float(value == 0.0) for value in slow]


def test_on_policy_gradient_is_plain_policy_gradient() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -0.5], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 0.5])
    objective.policy_loss(logprobs, logprobs.detach(), advantages, 0.2, 0.2, 2.0).sum().backward()
    torch.testing.assert_close(logprobs.grad, -advantages)


@pytest.mark.parametrize("divide", [True, False])
def test_group_advantages(divide: bool) -> None:
    rewards = torch.tensor([[2.0, 0.0, 1.0, 1.5], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    advantages = objective.group_advantages(rewards, divide_by_std=divide, eps=1e-4)
    for row, group in zip(advantages.tolist(), rewards.tolist(), strict=True):
        mean = sum(group) / len(group)
        std = math.sqrt(sum((reward - mean) ** 2 for reward in group) / (len(group) - 1))
        slow = [(reward - mean) / (std + 1e-4 if divide else 1.0) for reward in group]
        assert row == pytest.approx(slow)


def test_group_of_one_has_no_advantage() -> None:
    with pytest.raises(ValueError, match="G >= 2"):
        objective.group_advantages(torch.tensor([[1.0]]))


@pytest.mark.parametrize("average", ["token", "sequence"])
def test_weights_of_all_micro_batches_add_up_to_the_mean(average: str) -> None:
    generator = random.Random(0)
    responses = [[generator.uniform(-1, 1) for _ in range(generator.randint(1, 7))] for _ in range(9)]
    tokens = sum(map(len, responses))
    if average == "token":
        slow = sum(sum(response) for response in responses) / tokens
    else:
        slow = sum(sum(response) / len(response) for response in responses) / len(responses)
    total = 0.0
    for part in (responses[:2], responses[2:3], responses[3:]):
        lengths = torch.tensor([len(response) for response in part])
        weights = objective.token_weights(lengths, tokens, len(responses), average)  # type: ignore[arg-type]
        losses = torch.tensor([loss for response in part for loss in response])
        total += float((losses * weights.repeat_interleave(lengths)).sum())
    assert total == pytest.approx(slow, abs=1e-6)


def test_kl_is_k3() -> None:
    policy, reference, _ = ratios_and_advantages()
    kl = objective.kl_to_reference(
        torch.tensor(policy, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)
    )
    slow = [math.exp(r - p) - (r - p) - 1 for p, r in zip(policy, reference, strict=True)]
    torch.testing.assert_close(kl, torch.tensor(slow, dtype=torch.float64))
    assert kl.min() >= 0


def test_k3_is_unbiased() -> None:
    """Its expectation under the policy is the KL divergence itself."""
    p, q = torch.tensor([0.7, 0.2, 0.1]).double(), torch.tensor([0.3, 0.3, 0.4]).double()
    expected = float((p * (p / q).log()).sum())
    assert float((p * objective.kl_to_reference(p.log(), q.log())).sum()) == pytest.approx(expected)


def test_mismatch_is_one_only_where_both_sides_agree() -> None:
    gaps = objective.mismatch(torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -1.1, -0.9]))
    assert gaps.tolist() == pytest.approx([1.0, math.exp(0.1), math.exp(0.1)])


def test_entropy_ignores_impossible_tokens() -> None:
    logits = torch.tensor([[1.0, 1.0, float("-inf"), 1.0], [5.0, -math.inf, -math.inf, -math.inf]])
    assert objective.entropy(logits.log_softmax(-1)).tolist() == pytest.approx([math.log(3), 0.0], abs=1e-6)


def test_supervised_loss_is_cross_entropy() -> None:
    logits, targets = torch.randn(5, 7), torch.tensor([0, 6, 3, 3, 1])
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(objective.supervised_loss(logprobs), expected)


def test_a_broken_token_gives_no_infinity() -> None:
    logprobs = torch.tensor([0.0], requires_grad=True)
    loss = objective.policy_loss(logprobs, torch.tensor([-1e6]), torch.tensor([-1.0]), 0.2, 0.2, 2.0)
    loss.sum().backward()
    assert loss.isfinite().all() and logprobs.grad is not None and logprobs.grad.isfinite().all()
