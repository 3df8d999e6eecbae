"""Comparing the weights of learners."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from learner.rank import LearnerRank


def weights_of(rank: LearnerRank) -> dict[str, Tensor]:
    """Whole parameters by name; collective."""
    return {name: tensor.clone() for name, tensor in rank.weights}


def assert_same_weights(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], learning_rate: float
) -> None:
    """Equal up to a small part of one AdamW step, which is about `learning_rate` in every element."""
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        gap = (tensor - expected[name]).abs()
        off = float((gap > 0.05 * learning_rate).double().mean())
        assert off < 0.01, f"{name}: {off:.1%} of the elements differ, by up to {gap.max():.2g}"
        assert torch.isfinite(tensor).all()
