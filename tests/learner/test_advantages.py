"""Advantages against the formulas written out."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
import torch

from learner.advantages import compute_advantages, overlong_penalty

REWARDS = [[2.0, 0.0, 1.0, 1.5], [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]]
EPS = 1e-4


def slow(kind: str) -> list[list[float]]:
    centred = [[reward - fmean(group) for reward in group] for group in REWARDS]
    flat = [value for group in centred for value in group]
    if kind == "group_normalised":
        return [[v / (stdev(its) + EPS) for v in row] for row, its in zip(centred, REWARDS, strict=True)]
    if kind == "leave_one_out":
        return [
            [reward - fmean(group[:place] + group[place + 1 :]) for place, reward in enumerate(group)]
            for group in REWARDS
        ]
    if kind == "batch_normalised":
        return [[value / (stdev(flat) + EPS) for value in group] for group in centred]
    return centred


@pytest.mark.parametrize("kind", ["group_normalised", "group_centred", "leave_one_out", "batch_normalised"])
def test_advantages(kind: str) -> None:
    found = compute_advantages(torch.tensor(REWARDS, dtype=torch.float64), kind, EPS)  # type: ignore[arg-type]
    for row, expected in zip(found.tolist(), slow(kind), strict=True):
        assert row == pytest.approx(expected)
    assert found[1].tolist() == [0.0] * 4


def test_group_of_one_has_no_advantage() -> None:
    with pytest.raises(ValueError, match="G >= 2"):
        compute_advantages(torch.tensor([[1.0]]), "group_normalised")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", ["group_normalised", "group_centred", "leave_one_out", "batch_normalised"])
def test_a_reward_that_is_no_number_reaches_no_other_response(kind: str, value: float) -> None:
    rewards = torch.tensor([[1.0, 2.0], [1.0, value]], dtype=torch.float64)
    with pytest.raises(ValueError, match="group 1, response 1"):
        compute_advantages(rewards, kind)  # type: ignore[arg-type]


def test_overlong_penalty_falls_over_the_buffer() -> None:
    lengths = torch.tensor([1, 80, 85, 90, 100])
    assert overlong_penalty(lengths, limit=100, buffer=20).tolist() == pytest.approx([0, 0, -0.25, -0.5, -1])
    assert overlong_penalty(lengths, limit=100, buffer=0).tolist() == [0.0] * 5
