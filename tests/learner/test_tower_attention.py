"""The vision tower's attention by length against one call per window, on grids that windows do not fill."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from learner import tower_attention
from learner.tower_attention import use_attention_by_length
from tests.learner.plain import load

sides = st.integers(1, 5).map(lambda merged: 2 * merged)
grids = st.lists(st.tuples(st.integers(1, 3), sides, sides), min_size=1, max_size=3)


def features_and_gradients(tower: nn.Module, pixels: Tensor, grid: Tensor) -> list[Tensor]:
    tower.zero_grad()
    found = tower(pixels, grid_thw=grid, return_dict=True).pooler_output
    found.square().sum().backward()
    return [found.detach(), *(parameter.grad.clone() for parameter in tower.parameters())]


@given(clips=grids)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_the_towers_own(policy_folder: Path, clips: list[tuple[int, int, int]]) -> None:
    model = load(policy_folder).double()
    # Not eager, whose softmax is float32 whatever the model.
    model.model.visual.config._attn_implementation = "sdpa"
    grid = torch.tensor(clips)
    pixels = torch.randn(int(grid.prod(1).sum()), 1176, dtype=torch.float64)
    expected = features_and_gradients(model.model.visual, pixels, grid)
    use_attention_by_length(model.model.visual)
    for its, ours in zip(expected, features_and_gradients(model.model.visual, pixels, grid), strict=True):
        torch.testing.assert_close(ours, its, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        # 4 frames of 16 windows each, and 4 frames where a layer sees them whole.
        pytest.param([4, 16, 16], [4, 64], id="windows-that-fill-frames"),
        # Per frame 4 whole windows, 2 + 2 halves at its edges and a corner; 2 frames seen whole.
        pytest.param([2, 10, 10], [2, 2, 8, 8], id="lengths-that-alternate"),
    ],
)
def test_windows_of_one_length_are_one_call(
    policy_folder: Path, monkeypatch: pytest.MonkeyPatch, grid: list[int], expected: list[int]
) -> None:
    model = load(policy_folder)
    use_attention_by_length(model.model.visual)
    calls = []
    plain = tower_attention.scaled_dot_product_attention
    monkeypatch.setattr(
        tower_attention,
        "scaled_dot_product_attention",
        lambda query, *rest, **options: calls.append(len(query)) or plain(query, *rest, **options),
    )
    patches = math.prod(grid)
    model.model.visual(torch.randn(patches, 1176), grid_thw=torch.tensor([grid]))
    assert sorted(calls) == expected
