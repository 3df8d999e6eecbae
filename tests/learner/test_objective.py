"""Every formula against a slow float64 loop that follows the paper symbol by symbol."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch

from learner import objective
from learner.recipes import RECIPES
from learner.settings import LearnerSettings


def ratios_and_advantages(count: int = 200) -> tuple[list[float], list[float], list[float]]:
    """Log-probabilities on both sides of every bound, with advantages of both signs."""
    generator = random.Random(3)
    policy = [generator.uniform(-4.0, 0.0) for _ in range(count)]
    rollout = [value + generator.uniform(-1.5, 1.5) for value in policy]
    return policy, rollout, [generator.uniform(-2.0, 2.0) for _ in range(count)]


Rows = list[tuple[float, float, float]]
LENGTHS = [1, 7, 30, 2, 60, 50, 50]


def rows() -> Rows:
    return list(zip(*ratios_and_advantages(), strict=True))


def responses() -> list[Rows]:
    """The rows as responses, each with one advantage."""
    found, start = [], 0
    for length in LENGTHS:
        part = rows()[start : start + length]
        # Ratios of whole responses would all be out of bounds; these are near 1.
        found.append(
            [(policy, policy + (rollout - policy) / length**2, part[0][2]) for policy, rollout, _ in part]
        )
        start += length
    return found


def surrogate(
    kind: str, its: list[Rows], low: float, high: float, correction: str, cap: float
) -> tuple[Any, Any, Any]:
    """Losses, gradients and clipped tokens."""
    policy, rollout, advantages = (
        torch.tensor([row[place] for response in its for row in response], dtype=torch.float64)
        for place in range(3)
    )
    policy.requires_grad_()
    lengths = torch.tensor([len(response) for response in its])
    settings = LearnerSettings(
        surrogate=kind,  # type: ignore[arg-type]
        clip_low=low,
        clip_high=high,
        importance_correction=correction,  # type: ignore[arg-type]
        importance_cap=cap,
    )
    losses, clipped = objective.surrogate_loss(policy, rollout, advantages, lengths, settings)
    losses.sum().backward()
    return losses.tolist(), policy.grad.tolist(), clipped.tolist()  # type: ignore[union-attr]


def slow_gradient(ratio: float, advantage: float, low: float, high: float, cap: float) -> float:
    """d loss / d log-ratio: none where clipped, the truncated ratio times the advantage elsewhere."""
    if (advantage > 0 and ratio > 1 + high) or (advantage < 0 and ratio < 1 - low):
        return 0.0
    return -min(ratio, cap) * advantage


@pytest.mark.parametrize("cap", [1.0, 1.1, 1.28, 2.0])
def test_token_surrogate_is_ppos_with_two_bounds(cap: float) -> None:
    """Whether the cap lies within the clipping range or beyond it, it bounds weights and clips nothing."""
    losses, gradients, clipped = surrogate("token", [rows()], 0.2, 0.28, "truncate", cap)
    for (policy, rollout, advantage), loss, gradient, lost in zip(
        rows(), losses, gradients, clipped, strict=True
    ):
        ratio = math.exp(policy - rollout)
        bounded = min(max(ratio, 0.8), 1.28)
        assert loss == pytest.approx(-min(1, cap / ratio) * min(ratio * advantage, bounded * advantage))
        assert gradient == pytest.approx(slow_gradient(ratio, advantage, 0.2, 0.28, cap))
        assert lost == float(gradient == 0.0)
    assert 0 < sum(clipped) < len(clipped)


def test_masking_leaves_out_what_lies_far_off_on_either_side() -> None:
    losses, gradients, _ = surrogate("token", [rows()], 0.2, 0.28, "mask", 2.0)
    masked = 0
    for (policy, rollout, advantage), loss, gradient in zip(rows(), losses, gradients, strict=True):
        ratio = math.exp(policy - rollout)
        if 0.5 <= ratio <= 2.0:
            assert gradient == pytest.approx(slow_gradient(ratio, advantage, 0.2, 0.28, math.inf))
        else:
            masked += 1
            assert loss == gradient == 0.0
    assert masked > 10


def test_without_correction_nothing_bounds_a_bad_token() -> None:
    losses, gradients, _ = surrogate("token", [[(0.0, -3.0, -1.0)]], 0.2, 0.28, "none", 2.0)
    assert losses == gradients == pytest.approx([math.exp(3.0)])


@pytest.mark.parametrize("kind", ["sequence_mean", "sequence_sum"])
def test_sequence_surrogates_clip_the_ratio_of_the_response(kind: str) -> None:
    """With `sequence` aggregation, each token of a response carries the response's loss."""
    low, high = 0.02, 0.03
    losses, gradients, clipped = surrogate(kind, responses(), low, high, "truncate", 2.0)
    start = 0
    for response in responses():
        total = sum(policy - rollout for policy, rollout, _ in response)
        ratio, advantage = (
            math.exp(total / len(response) if kind == "sequence_mean" else total),
            response[0][2],
        )
        expected = -min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
        stop = start + len(response)
        assert losses[start:stop] == pytest.approx([expected] * len(response))
        # The mean over the response's equal losses, by each of its log-probabilities.
        share = 1 / len(response) if kind == "sequence_mean" else 1.0
        slope = slow_gradient(ratio, advantage, low, high, 2.0) * share
        assert [gradient / len(response) for gradient in gradients[start:stop]] == pytest.approx(
            [slope] * len(response)
        )
        assert clipped[start:stop] == [float(slope == 0.0)] * len(response)
        start = stop
    assert 0 < sum(clipped) < len(clipped)


@pytest.mark.parametrize("correction", ["none", "truncate"])
def test_weighted_surrogate_keeps_every_gradient(correction: str) -> None:
    """CISPO: minus clipped ratio, without gradient, times advantage times log-probability; no cap beside it."""
    losses, gradients, clipped = surrogate("weighted", [rows()], 1.0, 0.5, correction, 1.2)
    for (policy, rollout, advantage), loss, gradient, lost in zip(
        rows(), losses, gradients, clipped, strict=True
    ):
        weight = min(math.exp(policy - rollout), 1.5)
        assert loss == pytest.approx(-weight * advantage * policy)
        assert gradient == pytest.approx(-weight * advantage)
        assert lost == float(weight == 1.5)
    assert 0 < sum(clipped) < len(clipped)


@pytest.mark.parametrize("name", RECIPES)
def test_on_policy_every_objective_is_plain_policy_gradient(name: str) -> None:
    """The sum over tokens of minus advantage times gradient, but for the length that GSPO divides by."""
    recipe = RECIPES[name]
    its = [[(-1.0, -1.0, 0.5), (-2.0, -2.0, 0.5)], [(-0.5, -0.5, -1.0)]]
    _, gradients, _ = surrogate(recipe.surrogate, its, recipe.clip_low, recipe.clip_high, "truncate", 2.0)
    factor = 2.0 if recipe.surrogate == "sequence_sum" else 1.0
    assert gradients == pytest.approx([-0.5 * factor, -0.5 * factor, 1.0])


def test_objectives_combine_what_their_papers_do() -> None:
    """Spelled out once more, so that a slip in the table shows."""
    parts = {name: (its.advantages, its.surrogate, its.aggregation, its.kl) for name, its in RECIPES.items()}
    assert parts == {
        "grpo": ("group_normalised", "token", "sequence", "k3"),
        "dr_grpo": ("group_centred", "token", "constant", "k3"),
        "dapo": ("group_normalised", "token", "token", "k3"),
        "gspo": ("group_normalised", "sequence_mean", "sequence", "k3"),
        "cispo": ("group_normalised", "weighted", "token", "k3"),
        "rloo": ("leave_one_out", "sequence_sum", "sequence", "k3"),
        "reinforce_pp_baseline": ("batch_normalised", "token", "token", "k2"),
    }


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_shares_of_all_micro_batches_add_up_to_the_whole(aggregation: str) -> None:
    generator = random.Random(0)
    responses = [[generator.uniform(-1, 1) for _ in range(generator.randint(1, 7))] for _ in range(9)]
    tokens = sum(map(len, responses))
    slow = {
        "token": sum(sum(response) for response in responses) / tokens,
        "sequence": sum(sum(response) / len(response) for response in responses) / len(responses),
        "constant": sum(sum(response) for response in responses) / (len(responses) * 7),
    }
    total = 0.0
    for part in (responses[:2], responses[2:3], responses[3:]):
        lengths = torch.tensor([len(response) for response in part])
        weights = objective.token_weights(lengths, tokens, len(responses), aggregation, 7)  # type: ignore[arg-type]
        losses = torch.tensor([loss for response in part for loss in response])
        total += float((losses * weights.repeat_interleave(lengths)).sum())
    assert total == pytest.approx(slow[aggregation], abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimators(estimator: str) -> None:
    policy, reference, _ = ratios_and_advantages()
    kl = objective.kl_to_reference(
        torch.tensor(policy, dtype=torch.float64),
        torch.tensor(reference, dtype=torch.float64),
        estimator,  # type: ignore[arg-type]
    )
    slow = {
        "k1": [p - r for p, r in zip(policy, reference, strict=True)],
        "k2": [(p - r) ** 2 / 2 for p, r in zip(policy, reference, strict=True)],
        "k3": [math.exp(r - p) - (r - p) - 1 for p, r in zip(policy, reference, strict=True)],
    }
    torch.testing.assert_close(kl, torch.tensor(slow[estimator], dtype=torch.float64))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("gap", [-500.0, 500.0])
def test_the_kl_of_a_broken_token_is_finite(estimator: str, gap: float) -> None:
    policy = torch.tensor([-1.0], requires_grad=True)
    kl = objective.kl_to_reference(policy, torch.tensor([-1.0 + gap]), estimator)  # type: ignore[arg-type]
    kl.sum().backward()
    assert torch.isfinite(kl).all() and torch.isfinite(policy.grad).all()  # type: ignore[arg-type]


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


@pytest.mark.parametrize("kind", ["token", "sequence_mean", "sequence_sum", "weighted"])
def test_a_broken_token_gives_no_infinity(kind: str) -> None:
    losses, gradients, _ = surrogate(kind, [[(0.0, -1e6, -1.0)]], 0.2, 0.2, "truncate", 2.0)
    assert all(map(math.isfinite, losses + gradients))
