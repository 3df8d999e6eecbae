"""What the learner optimizes: losses, importance weights, KL and the figures that watch them; functions of tensors.

Everything here works on flat tensors over response tokens: entry t belongs to one token of one response. A
loss is the weighted sum of a per-token loss; the weights carry the normalisation, so that summing over
micro-batches and learner ranks gives exactly the value for the whole batch.

Papers: PPO (arXiv 1707.06347), GRPO (DeepSeekMath, arXiv 2402.03300), DAPO (arXiv 2503.14476), Dr. GRPO
(arXiv 2503.20783), GSPO (arXiv 2507.18071), MiniMax-M1 (arXiv 2506.13585), RLOO (arXiv 2402.14740); the KL
estimators of J. Schulman, "Approximating KL divergence", 2020. `learner.recipes` says which goes with which.
"""

from __future__ import annotations

import torch
from torch import Tensor

from learner.recipes import Aggregation, Correction, KlEstimator, Surrogate


def token_weights(
    lengths: Tensor, global_tokens: int, global_responses: int, aggregation: Aggregation, longest: int
) -> Tensor:
    """Weight of each response's tokens in the loss of the global batch.

    Args:
        lengths: [responses], response tokens of each row of this micro-batch.
        global_tokens: Response tokens of the whole batch, over all micro-batches and ranks.
        global_responses: Responses of the whole batch.
        aggregation: `token` weights every token alike (DAPO, eq. 8); `sequence` every response alike (GRPO,
            eq. 3); `constant` divides the sum over tokens by a number that no response moves (Dr. GRPO,
            section 3.2): responses times `longest`.
        longest: Most tokens a response may have.

    Returns:
        [responses], to be repeated over the tokens of each response. Those of `token` and `sequence` sum to 1.
    """
    ones = torch.ones_like(lengths, dtype=torch.float32)
    match aggregation:
        case "token":
            return ones / global_tokens
        case "sequence":
            return ones / (lengths * global_responses)
        case "constant":
            return ones / (longest * global_responses)


def surrogate_loss(
    kind: Surrogate,
    logprobs: Tensor,
    rollout_logprobs: Tensor,
    advantages: Tensor,
    lengths: Tensor,
    clip_low: float,
    clip_high: float,
    correction: Correction,
    cap: float,
) -> tuple[Tensor, Tensor]:
    """Per-token policy loss against the rollout's own log-probabilities.

    Importance ratios are taken against the behaviour policy itself, so no pass of the old policy is needed and
    the numerical mismatch of the two engines is corrected with it.

    Args:
        kind: `token`, the clipped ratio of each token (PPO, eq. 7, with DAPO's two bounds, eq. 10);
            `sequence_mean`, the clipped geometric mean of a response's ratios (GSPO, eqs. 5 and 7);
            `sequence_sum`, the clipped ratio of the whole response (RLOO); `weighted`, the clipped ratio as a
            constant weight of the log-probability, so that no token loses its gradient (CISPO: MiniMax-M1,
            eqs. 4 and 5).
        logprobs: [tokens], of the policy being trained.
        rollout_logprobs: [tokens], of the behaviour policy.
        advantages: [tokens].
        lengths: [responses], tokens of each response.
        clip_low, clip_high: The ratio is clipped to [1 - clip_low, 1 + clip_high].
        correction: See `importance_correction`.
        cap: Bound of the correction.

    Returns:
        The losses [tokens], to be minimised; and 1 where clipping took the gradient away, or, for `weighted`,
        bounded the weight [tokens].
    """
    ratio = importance_ratio(logprobs, rollout_logprobs)
    if kind.startswith("sequence"):
        ratio = response_ratio(logprobs, rollout_logprobs, lengths, mean=kind == "sequence_mean")
    kept, bounded = importance_correction(ratio.detach(), correction, cap)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    if kind == "weighted":
        weight = clipped.detach()
        return -kept * weight * advantages * logprobs, (weight != ratio.detach()).float()
    losses = -kept * torch.minimum(ratio * bounded * advantages, clipped * advantages)
    return losses, clipped_fraction(ratio.detach(), advantages, clip_low, clip_high)


def importance_ratio(logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """`policy / behaviour policy` per token, bounded so that a broken token cannot give infinity."""
    return (logprobs - rollout_logprobs).clamp(-20.0, 20.0).exp()


def response_ratio(logprobs: Tensor, rollout_logprobs: Tensor, lengths: Tensor, mean: bool) -> Tensor:
    """`policy / behaviour policy` of whole responses, repeated for each of their tokens.

    Args:
        mean: Take the response's length-th root: GSPO, eq. 7.

    Returns:
        [tokens].
    """
    owner = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    sums = torch.zeros_like(lengths, dtype=logprobs.dtype)
    sums = sums.index_add(0, owner, logprobs - rollout_logprobs)
    return ((sums / lengths if mean else sums).clamp(-20.0, 20.0).exp())[owner]


def importance_correction(ratio: Tensor, correction: Correction, cap: float) -> tuple[Tensor, Tensor]:
    """What is done about ratios that say rollout and learner hardly share a policy at this token.

    Args:
        ratio: [tokens], without gradient.
        correction: `truncate` bounds the weight of the gradient at `cap` (truncated importance sampling, where
            clipping leaves it unbounded: negative advantages); `mask` leaves tokens with a ratio outside
            [1 / cap, cap] out (masked importance sampling, on both sides as in IcePop); `none`.

    Returns:
        Two factors [tokens]: of the whole loss, and of the unclipped ratio.
    """
    ones = torch.ones_like(ratio)
    match correction:
        case "none":
            return ones, ones
        case "truncate":
            return ones, (cap / ratio).clamp(max=1.0)
        case "mask":
            return ((ratio <= cap) & (ratio >= 1.0 / cap)).to(ratio.dtype), ones


def clipped_fraction(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """[tokens], 1 where clipping took the gradient away."""
    too_high = (advantages > 0) & (ratio > 1.0 + clip_high)
    too_low = (advantages < 0) & (ratio < 1.0 - clip_low)
    return (too_high | too_low).float()


def kl_to_reference(logprobs: Tensor, reference_logprobs: Tensor, estimator: KlEstimator = "k3") -> Tensor:
    """Per-token KL(policy || reference) from a sampled token.

    Args:
        estimator: `k1`, the log-ratio: unbiased, of large variance, and as a loss without effect on average (its
            expected gradient is 0); `k2`, half its square: biased, with the gradient of the KL; `k3`: unbiased
            and never negative (GRPO, eq. 4).
    """
    log_ratio = reference_logprobs - logprobs
    match estimator:
        case "k1":
            return -log_ratio
        case "k2":
            return 0.5 * log_ratio.square()
        case "k3":
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
