"""Our losses against TRL's GRPOTrainer and RLOOTrainer on the same log-probabilities, where both define the same thing.

Of RLOO, which is a trainer of its own there, the loss without a KL penalty is: TRL's KL is part of the reward.
REINFORCE++ (absent), truncation (only with its vLLM mode) and masked importance sampling differ on purpose; they are
checked against their formulas in `test_objective`.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from learner.forward import TokenScores
from learner.losses import micro_batch_loss
from learner.recipes import RECIPES
from learner.settings import LearnerSettings

trl = pytest.importorskip("trl", reason="TRL is compared with where it is installed")
LONGEST = 12
# Its name for our objective, and the level of its importance ratio.
THEIRS = {
    "grpo": ("grpo", "token"),
    "dr_grpo": ("dr_grpo", "token"),
    "dapo": ("dapo", "token"),
    "gspo": ("grpo", "sequence"),
    "cispo": ("cispo", "token"),
}


class Given(NamedTuple):
    """What the loss of a batch depends on beside the policy's log-probabilities."""

    rollout: Tensor  # [responses, LONGEST], as the next two
    reference: Tensor
    mask: Tensor
    advantages: Tensor  # [responses]


def trl_loss(name: str, logprobs: Tensor, fixed: Given, beta: float) -> Tensor:
    """`_compute_loss` of TRL's trainer, given these log-probabilities, [responses, LONGEST]."""
    rollout, reference, mask, advantages = fixed
    recipe = RECIPES[name]
    loss_type, level = THEIRS.get(name, ("", ""))
    accelerator = MagicMock(num_processes=1)
    accelerator.gather = lambda tensor: tensor
    accelerator.reduce = lambda tensor, **_: tensor
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, torch.zeros_like(logprobs), None),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        loss_type=loss_type,
        epsilon_low=recipe.clip_low,
        # TRL's bound of CISPO is the weight itself.
        epsilon_high=recipe.clip_high + (1.0 if loss_type == "cispo" else 0.0),
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        model=SimpleNamespace(training=True),
        current_gradient_accumulation_steps=1,
        max_completion_length=LONGEST,
        accelerator=accelerator,
        _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _scale_metric=lambda value, *_: value,
    )
    inputs = {
        "prompt_ids": torch.zeros(len(mask), 1, dtype=torch.long),
        "prompt_mask": torch.ones(len(mask), 1, dtype=torch.long),
        "completion_ids": torch.zeros_like(mask, dtype=torch.long),
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": rollout,
        "old_logps": (rollout * mask).sum(1),
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }
    kind = trl.RLOOTrainer if name == "rloo" else trl.GRPOTrainer
    loss: Tensor = kind._compute_loss(trainer, None, inputs)
    return loss


def our_loss(name: str, logprobs: Tensor, fixed: Given, beta: float) -> Tensor:
    rollout, reference, mask, advantages = fixed
    plain = LearnerSettings(longest_response=LONGEST, importance_correction="none", kl_coef=beta)
    config = plain.pursuing(RECIPES[name])
    lengths = mask.sum(1)
    batch: Any = SimpleNamespace(
        lengths=lengths,
        rollout_logprobs=rollout[mask],
        advantages=advantages,
        targets=torch.zeros(int(mask.sum())),
        per_token=lambda values: values.repeat_interleave(lengths),
    )
    scores = TokenScores(logprobs[mask], torch.zeros(int(mask.sum())))
    loss, _ = micro_batch_loss(
        batch, scores, reference[mask] if beta else None, "grpo", config, int(mask.sum()), len(mask)
    )
    return loss


@pytest.mark.parametrize("name", [*THEIRS, "rloo"])
@given(
    st.lists(st.integers(1, LONGEST), min_size=1, max_size=8),
    st.integers(0, 1000),
    st.sampled_from([0.0, 0.04]),
)
@settings(max_examples=25, deadline=None)
def test_loss_and_gradient_equal_trls(name: str, lengths: list[int], seed: int, beta: float) -> None:
    beta = 0.0 if name == "rloo" else beta
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(LONGEST) < torch.tensor(lengths)[:, None]
    shape = mask.shape
    policy = -torch.rand(shape, generator=generator, dtype=torch.float64) * 5
    # About the width of what is clipped; the log-ratios of a whole response add up.
    spread = {"gspo": 2e-4, "rloo": 0.1}.get(name, 0.3)
    rollout, reference = (
        policy + torch.randn(shape, generator=generator, dtype=torch.float64) * scale
        for scale in (spread, 0.3)
    )
    advantages = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    ours, theirs = policy.clone().requires_grad_(), policy.clone().requires_grad_()
    fixed = Given(rollout, reference, mask, advantages)
    mine = our_loss(name, ours, fixed, beta)
    its = trl_loss(name, theirs, fixed, beta)
    mine.backward()
    its.backward()
    torch.testing.assert_close(mine, its, atol=1e-7, rtol=1e-5)
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-8, rtol=1e-5)
