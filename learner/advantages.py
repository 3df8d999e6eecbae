"""From the rewards of groups to advantages; pure functions of `[groups, G]` tensors, computed by the driver.

Rewards are compared in float64: in float32 the mean of equal rewards is off by their last digit, and dividing by a
standard deviation of that size makes an advantage of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from learner.recipes import Advantages


def compute_advantages(rewards: Tensor, kind: Advantages, eps: float = 1e-4) -> Tensor:
    """The advantage of each response; 0 exactly in a group whose rewards are equal, whatever their size.

    Equal is `==`: a reward is the same sum in the same order for every response, so what is equal is so to the last
    bit, and no tolerance has to say from where on a spread is real.

    Args:
        rewards: [groups, G], the total reward of each response; float64, or a spread may be lost before it is seen.
        kind: One of

            - `group_normalised`, `(r - mean) / (std + eps)`: GRPO (arXiv 2402.03300), section 4.1.2;
            - `group_centred`, `r - mean`, without the bias towards groups of small spread: Dr. GRPO
              (arXiv 2503.20783), section 3.2;
            - `leave_one_out`, `r - mean of the others`: RLOO (arXiv 2402.14740), section 3.3;
            - `batch_normalised`, `r - mean` divided by the standard deviation of that over the whole batch:
              REINFORCE++ with baseline (arXiv 2501.03262), section 3.2.
        eps: Keeps a group, or a batch, of hardly any spread from being divided by it.

    Returns:
        [groups, G], float64. Standard deviations are the sample's (n - 1), as in VideoChat-R1's released trainer.

    Raises:
        ValueError: G < 2, which has no group to compare with, or a reward is NaN or infinite.
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(f"rewards must be [groups, G] with G >= 2, found {list(rewards.shape)}")
    rewards = rewards.double()
    for group, response in (~rewards.isfinite()).nonzero().tolist():
        raise ValueError(
            f"group {group}, response {response} has a reward of {float(rewards[group, response])}"
        )
    equal = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)
    # The rounded mean of equal rewards need not be one of them.
    centred = (rewards - rewards.mean(dim=1, keepdim=True)).masked_fill(equal, 0.0)
    match kind:
        case "group_normalised":
            return centred / (rewards.std(dim=1, keepdim=True) + eps)
        case "group_centred":
            return centred
        case "leave_one_out":
            size = rewards.shape[1]
            return centred * size / (size - 1)
        case "batch_normalised":
            return centred / (centred.std() + eps)


def overlong_penalty(tokens: Tensor, limit: int, buffer: int) -> Tensor:
    """What a response loses for its length: nothing up to `limit - buffer` tokens, then linearly down to -1.

    Soft overlong punishment: DAPO (arXiv 2503.14476), eq. 13.

    Args:
        tokens: Lengths, of any shape.
        limit: Longest response in tokens.
        buffer: Tokens over which the penalty grows; 0 punishes nothing.

    Returns:
        Of the same shape, between -1 and 0, to be added to the reward.
    """
    if not buffer:
        return torch.zeros_like(tokens, dtype=torch.float32)
    return -((tokens - (limit - buffer)).float() / buffer).clamp(0.0, 1.0)
