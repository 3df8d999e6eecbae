"""Whole runs that train a part of the policy: with a frozen tower's features, and with adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.launching import launch, prompt_ids, records
from tests.e2e.test_launch import MISMATCH_BOUND

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def test_rollout_workers_sample_from_the_learners_features(
    runs_folder: Path, data_arguments: list[str], tiny_policy: str
) -> None:
    frozen = ("learner.freeze_vision=true", "learner.feature_cache_gib=1")
    folder = runs_folder / "frozen"
    run = launch(folder, "frozen", *data_arguments, f"model.path={tiny_policy}", "grpo.steps=2", *frozen)
    assert run.wait(600) == 0, run.output()
    steps = records(run.run_dir / "metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2]
    # Every group of the first step, and those of the second on top of them.
    first, second = (len(names) for _, names in sorted(prompt_ids(run.run_dir).items()))
    assert steps[0]["features_found"] >= first > 0
    assert steps[1]["features_found"] >= steps[0]["features_found"] + second
    assert all(1 <= step["mismatch"] <= MISMATCH_BOUND for step in steps)
    assert list((folder / "features").glob("*.safetensors"))


def test_adapters_are_sampled_with(runs_folder: Path, data_arguments: list[str], tiny_policy: str) -> None:
    folder = runs_folder / "lora"
    lora = ("learner.lora_rank=4", "learner.learning_rate=1e-2", "grpo.kl_coef=0.04")
    run = launch(folder, "lora", *data_arguments, f"model.path={tiny_policy}", "grpo.steps=3", *lora)
    assert run.wait(600) == 0, run.output()
    steps = records(run.run_dir / "metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2, 3]
    # Merged weights of the second version on are what the learner scores with, and no longer the reference's.
    assert all(1 <= step["mismatch"] <= MISMATCH_BOUND for step in steps)
    assert (steps[0]["kl"] or 0.0) < 1e-6 < steps[2]["kl"]
