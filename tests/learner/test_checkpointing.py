"""Gradient checkpointing recomputes what it should and changes nothing, with all that it may meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from data.records import TrainSample
from learner import shared_prefix, tower_attention
from learner.objective import kl_to_reference
from learner.rank import LearnerRank
from learner.settings import LearnerSettings
from tests.learner.compare import assert_same_weights, weights_of
from tests.learner.plain import PlainLearner, logprobs_of
from tests.learner.test_bfloat16 import gradients_of
from tests.learner.test_rank import near_policy, step
from tests.learner.tiny import make_samples

StartRank = Callable[..., LearnerRank]
SETTINGS = {"learning_rate": 1e-3, "micro_batch_tokens": 80}
TRAINED = {
    "all": {},
    "lora": {"lora_rank": 4, "lora_alpha": 8},
    "frozen-tower": {"freeze_vision": True},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the attention of the language model and of the vision tower is computed."""
    counter: Counter[str] = Counter()
    for module in (shared_prefix, tower_attention):
        monkeypatch.setattr(module, "_attention", _counted(module, counter))
    return counter


def _counted(module: ModuleType, counter: Counter[str]) -> Callable[..., Any]:
    original = module._attention

    def attention(*arguments: Any, **options: Any) -> Any:
        counter[module.NAME] += 1
        return original(*arguments, **options)

    return attention


@pytest.mark.parametrize("stage", [1, 3])
@pytest.mark.parametrize("trained", TRAINED)
def test_it_computes_layers_twice_and_changes_nothing(
    start_rank: StartRank, policy_folder: Path, calls: Counter[str], stage: int, trained: str
) -> None:
    samples = near_policy(make_samples(2, 3), policy_folder)
    found = []
    for checkpointing in (False, True):
        rank = start_rank(
            **SETTINGS, **TRAINED[trained], zero_stage=stage, gradient_checkpointing=checkpointing
        )
        calls.clear()
        report = step(rank, samples, "grpo")
        found.append((report, weights_of(rank), dict(calls)))
    (plain, expected, once), (report, weights, twice) = found
    assert twice[shared_prefix.NAME] == 2 * once[shared_prefix.NAME] > 0
    # A tower that does not train is outside the graph: there is nothing to recompute.
    assert twice[tower_attention.NAME] == (2 if trained == "all" else 1) * once[tower_attention.NAME] > 0
    assert report.loss == pytest.approx(plain.loss, rel=1e-6)
    assert report.grad_norm == pytest.approx(plain.grad_norm, rel=1e-5)
    assert_same_weights(weights, expected, SETTINGS["learning_rate"])


def test_with_zero_3_bfloat16_and_a_reference_policy(start_rank: StartRank, policy_folder: Path) -> None:
    """All that a large policy is trained with: each step's loss and gradients are those of float32 at its weights.

    Two optimizers would part after a step: the first update of Adam is the sign of the gradient, which rounding decides
    where it is small. Nothing is clipped, as rounding would decide which tokens are.
    """
    samples = near_policy(make_samples(2, 3), policy_folder)
    common: dict[str, Any] = {**SETTINGS, "kl_coef": 1.0, "importance_cap": 1e9, "max_grad_norm": 0.0}
    common |= {"clip_low": 1e9, "clip_high": 1e9}
    rank = start_rank(**common, zero_stage=3, dtype="bfloat16", gradient_checkpointing=True)
    plain = PlainLearner(policy_folder, LearnerSettings(**common))
    # The first step has no KL yet; the reference policy stays where it is when the policy moves on.
    for least_kl in (0.0, 0.1, 0.1):
        plain.model.load_state_dict(weights_of(rank), strict=False)
        with gradients_of(rank) as gradients:
            report = step(rank, samples, "grpo")
        loss, kl, expected = whole(plain, samples)
        assert report.loss == pytest.approx(loss, rel=0.02, abs=0.02)
        assert report.kl == pytest.approx(kl, rel=0.05, abs=1e-3)
        assert kl >= least_kl
        norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm()
        assert report.grad_norm == pytest.approx(float(norm), rel=0.05)
        for name, gradient in expected.items():
            # With 8 bits of mantissa the error is 2 to 5 in a hundred, with or without AVX-512 and AMX.
            assert (gradients[name] - gradient).norm() <= 0.15 * gradient.norm() > 0, name


def whole(plain: PlainLearner, samples: list[TrainSample]) -> tuple[float, float, dict[str, Tensor]]:
    """Loss, KL and gradients of a batch, at the weights that the plain learner has now."""
    plain.optimizer.zero_grad()
    loss = plain.loss(samples, "grpo")
    loss.backward()
    with torch.no_grad():
        pairs = [(logprobs_of(plain.model, one), logprobs_of(plain.reference, one)) for one in samples]
    kl = torch.cat([kl_to_reference(policy, reference) for policy, reference in pairs]).mean()
    gradients = {name: p.grad for name, p in plain.model.named_parameters() if p.grad is not None}
    return float(loss.detach()), float(kl), gradients
