"""The objective family by name: what each paper combines, in terms of the pure functions beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Advantages = Literal["group_normalised", "group_centred", "leave_one_out", "batch_normalised"]
Surrogate = Literal["token", "sequence_mean", "sequence_sum", "weighted"]
Aggregation = Literal["token", "sequence", "constant"]
KlEstimator = Literal["k1", "k2", "k3"]
Correction = Literal["none", "truncate", "mask"]


@dataclass(frozen=True)
class Recipe:
    """An objective: every part is a choice of its own in YAML, and the name gives the defaults.

    Attributes:
        advantages: See `learner.advantages`.
        surrogate: What is clipped, see `learner.objective.surrogate_loss`.
        aggregation: How token losses become one number, see `learner.objective.token_weights`.
        clip_low, clip_high: The importance ratio is clipped to [1 - clip_low, 1 + clip_high].
        kl: Estimator of the KL penalty, where there is one.
    """

    advantages: Advantages
    surrogate: Surrogate
    aggregation: Aggregation
    clip_low: float = 0.2
    clip_high: float = 0.2
    kl: KlEstimator = "k3"


RECIPES: Mapping[str, Recipe] = {
    # DeepSeekMath, arXiv 2402.03300, eq. 3.
    "grpo": Recipe("group_normalised", "token", "sequence"),
    # Understanding R1-Zero-like training, arXiv 2503.20783, section 3.2: no std, no length.
    "dr_grpo": Recipe("group_centred", "token", "constant"),
    # arXiv 2503.14476, eq. 8 with clip-higher. Dynamic sampling (section 3.2) and overlong shaping (section 3.4) are no
    # part of a loss: `grpo.dynamic_sampling` and `grpo.overlong_buffer` switch them on.
    "dapo": Recipe("group_normalised", "token", "token", clip_high=0.28),
    # Group sequence policy optimization, arXiv 2507.18071, eqs. 5 and 7, bounds of section 5.1.
    "gspo": Recipe("group_normalised", "sequence_mean", "sequence", clip_low=3e-4, clip_high=4e-4),
    # MiniMax-M1, arXiv 2506.13585, eqs. 4 and 5; no lower bound, the upper one of ScaleRL (arXiv 2510.13786).
    "cispo": Recipe("group_normalised", "weighted", "token", clip_low=1.0, clip_high=4.0),
    # Back to basics, arXiv 2402.14740: the response is one action (section 3.3). It differs in two ways: the ratio of
    # the response is clipped, as in TRL's RLOO (the paper's section 3.2 finds that rarely needed; on-policy it is 1),
    # and a KL penalty is a term of the loss, not of the reward.
    "rloo": Recipe("leave_one_out", "sequence_sum", "sequence"),
    # arXiv 2501.03262, section 3.2: batch statistics, k2.
    "reinforce_pp_baseline": Recipe("batch_normalised", "token", "token", kl="k2"),
}
