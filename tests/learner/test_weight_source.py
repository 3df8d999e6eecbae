"""What the weight source declares is what it yields, at every ZeRO stage, and it leaves nothing out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from learner.rank import LearnerRank
from learner.weight_source import DeepSpeedSource, gather_groups
from tests.learner.plain import load


@pytest.mark.parametrize("gather_bytes", [1, 20_000, 1 << 30])
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("stage", [0, 1, 3])
def test_metadata_equals_iteration_and_the_checkpoint(
    start_rank: Callable[..., LearnerRank],
    policy_folder: Path,
    untied_folder: Path,
    stage: int,
    tie: bool,
    gather_bytes: int,
) -> None:
    folder = policy_folder if tie else untied_folder
    source = DeepSpeedSource(start_rank(folder, zero_stage=stage).policy, gather_bytes)
    declared = [(meta.name, meta.dtype, meta.shape) for meta in source.metadata()]
    yielded = [(name, tensor.clone()) for name, tensor in source]
    assert declared == [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in yielded]
    expected = dict(load(folder).named_parameters())
    assert [name for name, _ in yielded] == list(expected)
    assert ("lm_head.weight" in expected) != tie
    for name, tensor in yielded:
        assert torch.equal(tensor, expected[name]), name


def test_yielded_tensors_outlive_the_gathering(
    start_rank: Callable[..., LearnerRank], policy_folder: Path
) -> None:
    """Senders pack in the background, after the source has moved on."""
    source = DeepSpeedSource(start_rank(zero_stage=3).policy, gather_bytes=1)
    kept = dict(source)
    for name, parameter in load(policy_folder).named_parameters():
        assert torch.equal(kept[name], parameter), name


def test_parameters_are_partitioned_again(start_rank: Callable[..., LearnerRank]) -> None:
    rank = start_rank(zero_stage=3)
    before = [parameter.numel() for parameter in rank.policy.parameters()]
    for _ in rank.weights:
        pass
    assert [parameter.numel() for parameter in rank.policy.parameters()] == before
    assert 0 in before


def test_groups_respect_the_cap_and_the_order(policy_folder: Path) -> None:
    model = load(policy_folder)
    groups = gather_groups(model, 40_000)
    assert [weight.name for group in groups for weight in group] == [
        name for name, _ in model.named_parameters()
    ]
    for group in groups:
        sizes = [weight.parameter.numel() * weight.parameter.element_size() for weight in group]
        assert sum(sizes) <= 40_000 or len(group) == 1
