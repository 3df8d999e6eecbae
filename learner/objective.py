"""What the learner optimizes: losses, importance weights, KL and the figures that watch them; functions of tensors.

Everything here works on flat tensors over response tokens: entry t belongs to one token of one response. A
loss is the weighted sum of a per-token loss; the weights carry the normalisation, so that summing over
micro-batches and learner ranks gives exactly the value for the whole batch.

Papers: PPO (arXiv 1707.06347), GRPO (DeepSeekMath, arXiv 2402.03300), DAPO (arXiv 2503.14476), Dr. GRPO
(arXiv 2503.20783), GSPO (arXiv 2507.18071), MiniMax-M1 (arXiv 2506.13585), RLOO (arXiv 2402.14740); the KL
estimators of J. Schulman, "Approximating KL divergence", 2020; truncated importance sampling between engines of
F. Yao et al., "Your Efficient RL Framework Secretly Brings You Off-Policy RL Training", 2025, and masked of J. Liu et
al., "When Speed Kills Stability", 2025, and IcePop (Ring-1T, arXiv 2510.18855). `learner.recipes` says which goes with
which.
"""

from __future__ import annotations

import torch
from torch import Tensor

from learner.recipes import Aggregation, Correction, KlEstimator
from learner.settings import LearnerSettings

# Log-ratios are bounded by this before they are exponentiated.
LARGEST_LOG_RATIO = 20.0


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
    logprobs: Tensor, rollout_logprobs: Tensor, advantages: Tensor, lengths: Tensor, settings: LearnerSettings
) -> tuple[Tensor, Tensor]:
    """Per-token policy loss against the rollout's own log-probabilities.

    Importance ratios are taken against the behaviour policy itself, so no pass of the old policy is needed, and the
    clipped ratio holds both what updates have moved and the numerical mismatch of the two engines.

    `settings.surrogate` says what is clipped to [1 - `clip_low`, 1 + `clip_high`]:

    - `token`, the ratio of each token (PPO, eq. 7, with DAPO's two bounds, eq. 10);
    - `sequence_mean`, the geometric mean of a response's ratios (GSPO, eqs. 5 and 7);
    - `sequence_sum`, the ratio of the whole response, as TRL's RLOO has it; the paper does not clip (section 3.2);
    - `weighted`, the ratio as a constant weight of the log-probability, so that no token loses its gradient (CISPO:
      MiniMax-M1, eqs. 4 and 5).

    Args:
        logprobs: [tokens], of the policy being trained.
        rollout_logprobs: [tokens], of the behaviour policy.
        advantages: [tokens].
        lengths: [responses], tokens of each response.

    Returns:
        The losses [tokens], to be minimised; and 1 where clipping took the gradient away, or, for `weighted`,
        bounded the weight [tokens].
    """
    kind, low, high = settings.surrogate, settings.clip_low, settings.clip_high
    ratio = importance_ratio(logprobs, rollout_logprobs)
    if kind.startswith("sequence"):
        ratio = response_ratio(logprobs, rollout_logprobs, lengths, mean=kind == "sequence_mean")
    clipped = ratio.clamp(1.0 - low, 1.0 + high)
    correction, cap = settings.importance_correction, settings.importance_cap
    if kind == "weighted":
        # Its clipping is a truncation already.
        correction = "none" if correction == "truncate" else correction
        kept, weight = importance_correction(ratio.detach(), correction, cap), clipped.detach()
        return -kept * weight * advantages * logprobs, (weight != ratio.detach()).float()
    factor = importance_correction(ratio.detach(), correction, cap)
    losses = -factor * torch.minimum(ratio * advantages, clipped * advantages)
    return losses, clipped_fraction(ratio.detach(), advantages, low, high)


def importance_ratio(logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """`policy / behaviour policy` per token, bounded so that a broken token cannot give infinity."""
    return (logprobs - rollout_logprobs).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp()


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
    return ((sums / lengths if mean else sums).clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO).exp())[owner]


def importance_correction(ratio: Tensor, correction: Correction, cap: float) -> Tensor:
    """What is done about ratios that say rollout and learner hardly share a policy at this token.

    The gradient of a clipped loss has the ratio as its weight wherever clipping leaves one. The factor is of the whole
    loss, so that a cap within the clipping range bounds that weight and changes nothing about what is clipped.

    The papers weigh by old policy over behaviour policy, two engines with the same weights. Without a pass of the old
    policy the ratio is the policy's own: with several updates per batch, or with stale groups, it holds what learning
    has moved too, and `mask` also leaves out what moved beyond the cap.

    Args:
        ratio: [tokens], without gradient.
        correction: `truncate` bounds the weight of the gradient at `cap` (truncated importance sampling; where
            clipping leaves it unbounded: negative advantages); `mask` leaves tokens with a ratio outside
            [1 / cap, cap] out (masked importance sampling, on both sides as in IcePop); `none`.

    Returns:
        Factor of each token's loss [tokens].
    """
    match correction:
        case "none":
            return torch.ones_like(ratio)
        case "truncate":
            return (cap / ratio).clamp(max=1.0)
        case "mask":
            return ((ratio <= cap) & (ratio >= 1.0 / cap)).to(ratio.dtype)


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
            and never negative (GRPO, eq. 4), bounded so that a broken token cannot give infinity.
    """
    log_ratio = reference_logprobs - logprobs
    match estimator:
        case "k1":
            return -log_ratio
        case "k2":
            return 0.5 * log_ratio.square()
        case "k3":
            bounded = log_ratio.clamp(max=LARGEST_LOG_RATIO)
            return bounded.exp() - bounded - 1.0


def supervised_loss(logprobs: Tensor) -> Tensor:
    """Per-token cross-entropy of the demonstrated token: GRPO, section 5.2.1 (SFT), before averaging."""
    return -logprobs


def mismatch(logprobs: Tensor, rollout_logprobs: Tensor) -> Tensor:
    """`exp|logp_rollout - logp_learner|` per token: 1 where rollout and learner agree on the policy."""
    return (rollout_logprobs - logprobs).abs().clamp(max=LARGEST_LOG_RATIO).exp()


def entropy(log_probs: Tensor) -> Tensor:
    """Entropy in nats of each row of a normalised distribution.

    Args:
        log_probs: [tokens, vocabulary]; minus infinity marks a token that cannot be sampled.
    """
    return -(log_probs.exp() * log_probs.masked_fill(log_probs.isneginf(), 0.0)).sum(dim=-1)
