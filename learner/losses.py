"""The loss of one micro-batch and the sums it adds to the step's report."""

from __future__ import annotations

from torch import Tensor

from learner import objective
from learner.forward import MicroBatch, TokenScores
from learner.report import StepSums
from learner.settings import LearnerSettings, Objective


def micro_batch_loss(
    batch: MicroBatch,
    scores: TokenScores,
    reference_logprobs: Tensor | None,
    kind: Objective,
    settings: LearnerSettings,
    global_tokens: int,
    global_responses: int,
) -> tuple[Tensor, StepSums]:
    """This micro-batch's share of the global batch's loss: the shares of all of them add up to it.

    Args:
        reference_logprobs: [T], of the reference policy; None without a KL penalty.
        global_tokens, global_responses: Counts over all micro-batches and ranks.

    Returns:
        The share, a scalar; and what it adds to the report.
    """
    if kind == "sft":
        losses, sums = objective.supervised_loss(scores.logprobs), StepSums()
    else:
        losses, sums = _policy_losses(batch, scores.logprobs, reference_logprobs, settings)
    aggregation = "token" if kind == "sft" else settings.aggregation
    weights = objective.token_weights(
        batch.lengths, global_tokens, global_responses, aggregation, settings.longest_response
    )
    loss = (losses * batch.per_token(weights)).sum()
    sums.add(
        StepSums(
            loss=float(loss.detach()),
            entropy=float(scores.entropy.sum()),
            tokens=len(batch.targets),
            responses=len(batch.lengths),
            micro_batches=1,
        )
    )
    return loss, sums


def _policy_losses(
    batch: MicroBatch, logprobs: Tensor, reference_logprobs: Tensor | None, settings: LearnerSettings
) -> tuple[Tensor, StepSums]:
    """Per-token losses [T] of policy and KL penalty."""
    rollout = batch.rollout_logprobs
    advantages = batch.per_token(batch.advantages)
    losses, clipped = objective.surrogate_loss(logprobs, rollout, advantages, batch.lengths, settings)
    gaps = objective.mismatch(logprobs.detach(), rollout).double()
    sums = StepSums(
        mismatch=float(gaps.sum()), largest_mismatch=float(gaps.max()), clipped=float(clipped.sum())
    )
    if reference_logprobs is not None:
        kl = objective.kl_to_reference(logprobs, reference_logprobs, settings.kl_estimator)
        losses, sums.kl = losses + settings.kl_coef * kl, float(kl.detach().sum())
    return losses, sums
