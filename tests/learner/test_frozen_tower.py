"""A frozen tower runs once per clip, whatever the ZeRO stage, and not at all on what the cache holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.feature_cache import FeatureCache
from learner.rank import LearnerRank
from tests.learner.compare import assert_same_weights, weights_of
from tests.learner.test_rank import near_policy, step
from tests.learner.tiny import build_policy, make_samples

StartRank = Callable[..., LearnerRank]
FROZEN: dict[str, Any] = {
    "freeze_vision": True,
    "learning_rate": 1e-2,
    "kl_coef": 0.1,
    "micro_batch_tokens": 80,
}


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_features_apart_change_nothing(
    start_rank: StartRank, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, stage: int
) -> None:
    """Steps equal those of a rank whose frozen tower runs in the forward pass."""
    samples = near_policy(make_samples(3, 3), policy_folder)
    apart = start_rank(**FROZEN, zero_stage=stage)
    reports = [step(apart, samples, "grpo") for _ in range(2)]
    assert apart._tower is not None and apart._tower.runs == 2 * 3

    monkeypatch.setattr(LearnerRank, "_frozen_tower", lambda self: None)
    inside = start_rank(**FROZEN, zero_stage=stage)
    for mine in reports:
        its = step(inside, samples, "grpo")
        # Which kernels add the features up differs with the processor; what follows a step, by what Adam makes of it.
        assert mine.loss == pytest.approx(its.loss, abs=1e-4)
        assert mine.kl == pytest.approx(its.kl, rel=1e-3)
        assert mine.grad_norm == pytest.approx(its.grad_norm, rel=1e-3)
    assert_same_weights(weights_of(apart), weights_of(inside), FROZEN["learning_rate"])


def test_a_warm_cache_leaves_the_tower_and_the_pixels_alone(
    start_rank: StartRank, policy_folder: Path, tmp_path: Path
) -> None:
    samples = near_policy(make_samples(3, 2), policy_folder)
    cached = {**FROZEN, "feature_cache": str(tmp_path / "features"), "feature_cache_bytes": 1 << 20}
    cold = start_rank(**cached)
    first = step(cold, samples, "grpo")
    warm = start_rank(**cached)
    pixels = _pixels_asked_for(warm)
    again = step(warm, samples, "grpo")
    assert cold._tower and warm._tower and (cold._tower.runs, warm._tower.runs) == (3, 0)
    assert pixels == [False] * 3
    assert (again.loss, again.grad_norm) == (first.loss, first.grad_norm)


def test_features_computed_ahead_are_found_by_the_step(
    start_rank: StartRank, policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = near_policy(make_samples(3, 2), policy_folder)
    rank = start_rank(**FROZEN, feature_cache=str(tmp_path / "features"), feature_cache_bytes=1 << 20)
    digest = rank.compute_features([s.clip for s in samples], [s.prompt for s in samples])
    with monkeypatch.context() as patch:
        patch.setattr(
            FeatureCache, "get", lambda *_: pytest.fail("read features to see whether they are there")
        )
        assert rank.compute_features([s.clip for s in samples], [s.prompt for s in samples]) == digest
    step(rank, samples, "grpo")
    assert rank._tower and rank._tower.runs == 3
    assert digest == rank._tower.digest


def test_another_tower_has_another_digest(start_rank: StartRank, policy_folder: Path, tmp_path: Path) -> None:
    folders = [policy_folder, policy_folder, build_policy(tmp_path / "other", seed=1)]
    towers = [start_rank(folder, **FROZEN)._tower for folder in folders]
    first, same, other = (tower.digest for tower in towers if tower)
    assert first == same != other


def test_a_tower_that_trains_has_no_features(start_rank: StartRank) -> None:
    with pytest.raises(RuntimeError, match="the vision tower trains"):
        start_rank().compute_features([], [])


def _pixels_asked_for(rank: LearnerRank) -> list[bool]:
    asked: list[bool] = []
    original: Any = rank._encoder.encode

    def encode(prompt: Any, clip: Any, pixels: bool = True) -> Any:
        asked.append(pixels)
        return original(prompt, clip, pixels)

    rank._encoder.encode = encode  # type: ignore[method-assign]
    return asked
