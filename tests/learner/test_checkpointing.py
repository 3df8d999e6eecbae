"""Gradient checkpointing recomputes what it should and changes nothing, with all that it may meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from learner import shared_prefix, tower_attention
from learner.rank import LearnerRank
from tests.learner.compare import assert_same_weights, weights_of
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
    """All that a large policy is trained with, against float32 without any of it."""
    samples = near_policy(make_samples(2, 3), policy_folder)
    common = {**SETTINGS, "kl_coef": 0.1}
    large = start_rank(**common, zero_stage=3, dtype="bfloat16", gradient_checkpointing=True)
    plain = start_rank(**common, zero_stage=1)
    reports = [[step(rank, samples, "grpo") for _ in range(3)] for rank in (large, plain)]
    assert reports[0][0].kl == pytest.approx(0.0, abs=1e-6)
    for mine, its in zip(*reports, strict=True):
        assert mine.loss == pytest.approx(its.loss, abs=0.05)
        assert mine.grad_norm == pytest.approx(its.grad_norm, rel=0.2)
    assert reports[0][2].kl == pytest.approx(reports[1][2].kl, rel=0.5)
    assert reports[1][2].kl > 1e-4
