"""What the learner optimizes: advantages, losses and the figures that watch them; pure functions of tensors.

Everything here works on flat tensors over response tokens: entry t belongs to one token of one response. A
loss is the weighted sum of a per-token loss; the weights carry the normalisation, so that summing over
micro-batches and learner ranks gives exactly the value for the whole batch.

Papers: PPO (arXiv 1707.06347), GRPO (DeepSeekMath, arXiv 2402.03300), DAPO (arXiv 2503.14476), Dr. GRPO
(arXiv 2503.20783), MiniMax-M1 (arXiv 2506.13585), the k3 estimator (J. Schulman, "Approximating KL
divergence", 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor

from learner.settings import TokenAverage


def group_advantages(rewards: Tensor, divide_by_std: bool = True, eps: float = 1e-4) -> Tensor:
    """Group-relative advantages, `(r - mean) / (std + eps)`: GRPO, section 4.1.2.

    Args:
        rewards: [groups, G], the total reward of each response.
        divide_by_std: False leaves `r - mean`, without the bias towards groups of small spread (Dr. GRPO,
            section 3.2).
        eps: Keeps a group of equal rewards at advantage 0.

    Returns:
        [groups, G]. The standard deviation is the sample's (G - 1), as in VideoChat-R1's released trainer.

    Raises:
        ValueError: G < 2, which has no group to compare with.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards must be [groups, G] with G >= 2, found {list(rewards.shape)}")
    centered = rewards - rewards.mean(dim=1, keepdim=True)
    if not divide_by_std:
        return centered
    return centered / (rewards.std(dim=1, keepdim=True) + eps)


def token_weights(
    lengths: Tensor, global_tokens: int, global_responses: int, average: TokenAverage
) -> Tensor:
    """Weight of each response's tokens, such that the weights of the global batch sum to 1.

    Args:
        lengths: [responses], response tokens of each row of this micro-batch.
        global_tokens: Response tokens of the whole batch, over all micro-batches and ranks.
        global_responses: Responses of the whole batch.
        average: `token` weights every token alike (DAPO, eq. 12); `sequence` every response alike (GRPO,
            eq. 3).

    Returns:
        [responses], to be repeated over the tokens of each response.
    """
    if average == "token":
        return torch.full_like(lengths, 1.0, dtype=torch.float32) / global_tokens
    return 1.0 / (lengths.float() * global_responses)


def policy_loss(
    logprobs: Tensor,
    rollout_logprobs: Tensor,
    advantages: Tensor,
    clip_low: float,
    clip_high: float,
    importance_cap: float,
) -> Tensor:
    """Per-token clipped surrogate: PPO, eq. 7, with DAPO's two clipping bounds (eq. 10).

    The importance ratio is taken against the rollout's own log-probabilities, so no pass of the old policy is
    needed and the numerical mismatch of the two engines is corrected with it. Where clipping leaves the ratio
    unbounded (negative advantage), its weight is truncated at `importance_cap` and the gradient kept, as in
    MiniMax-M1, eq. 5.

    Args:
        logprobs: [tokens], of the policy being trained.
        rollout_logprobs: [tokens], of the behaviour policy.
        advantages: [tokens].

    Returns:
        [tokens], to be minimised.
    """
    ratio = importance_ratio(logprobs, rollout_logprobs)
    truncation = (importance_cap / ratio.detach()).clamp(max=1.0)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * truncation * advantages, clipped * advantages)


def importance_ratio(logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """`policy / behaviour policy` per token, bounded so that a broken token cannot give infinity."""
    return (logprobs - rollout_logprobs).clamp(-20.0, 20.0).exp()


def clipped_fraction(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """[tokens], 1 where clipping took the gradient away."""
    too_high = (advantages > 0) & (ratio > 1.0 + clip_high)
    too_low = (advantages < 0) & (ratio < 1.0 - clip_low)
    return (too_high | too_low).float()


def kl_to_reference(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """Per-token KL(policy || reference) by the k3 estimator: GRPO, eq. 4. Unbiased, never negative."""
    log_ratio = reference_logprobs - logprobs
    return log_ratio.exp() - log_ratio - 1.0


def supervised_loss(logprobs: Tensor) -> Tensor:
    """Per-token cross-entropy of the demonstrated token: GRPO, section 5.2.1 (SFT), before averaging."""
    return -logprobs


def mismatch(logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """`exp|logp_rollout - logp_learner|` per token: 1 where rollout and learner agree on the policy."""
    return (rollout_logprobs - logprobs).abs().clamp(max=20.0).exp()


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats of each row of a normalised distribution.

    Args:
        log_probs: [tokens, vocabulary]; minus infinity marks a token that cannot be sampled.
    """
    return -(log_probs.exp() * log_probs.masked_fill(log_probs.isneginf(), 0.0)).sum(dim=-1)
