"""Attention over packed groups equals masked softmax attention, in both kernels, outputs and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask

from learner.block_attention import attend_by_blocks, block_mask
from learner.merged_attention import attend_merged
from learner.shared_prefix import PackLayout, _attention

HEADS, KEY_HEADS, WIDTH = 4, 2, 8
SCALE = 0.3
CPU = torch.device("cpu")

packs = st.tuples(st.integers(1, 40), st.lists(st.integers(1, 12), min_size=1, max_size=5).map(tuple))
layouts = st.lists(packs, min_size=1, max_size=3).map(lambda found: PackLayout(*zip(*found, strict=True)))


def tensors(layout: PackLayout, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(layout.tokens)
    shapes = [(1, heads, layout.tokens, WIDTH) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    query, key, value = (torch.randn(shape, generator=generator, dtype=dtype) * 2 for shape in shapes)
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def visible(layout: PackLayout) -> Tensor:
    """[tokens, tokens], written down pack by pack."""
    mask = torch.zeros(layout.tokens, layout.tokens, dtype=torch.bool)
    start = 0
    for prompt, responses in zip(layout.prompts, layout.responses, strict=True):
        end = start + prompt
        mask[start:end, start:end] = torch.ones(prompt, prompt).tril().bool()
        for length in responses:
            own = slice(end, end + length)
            mask[own, start : start + prompt] = True
            mask[own, own] = torch.ones(length, length).tril().bool()
            end += length
        start = end
    return mask


def plain(query: Tensor, key: Tensor, value: Tensor, layout: PackLayout) -> Tensor:
    key, value = (tensor.repeat_interleave(HEADS // KEY_HEADS, dim=1) for tensor in (key, value))
    scores = (query @ key.transpose(-1, -2) * SCALE).masked_fill(~visible(layout), -math.inf)
    return scores.softmax(-1) @ value


@given(layouts)
@settings(max_examples=60, deadline=None)
def test_merged_parts_equal_masked_softmax(layout: PackLayout) -> None:
    found, expected = tensors(layout), tensors(layout)
    out = attend_merged(*found, layout, SCALE)
    wanted = plain(*expected, layout)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out * weights).sum().backward()
    (wanted * weights).sum().backward()
    for mine, its in zip(found, expected, strict=True):
        assert (mine.grad - its.grad).norm() <= 1e-5 * its.grad.norm()


@given(layouts)
@settings(max_examples=40, deadline=None)
def test_blocks_hold_the_same_pairs(layout: PackLayout) -> None:
    """Of FlexAttention the mask and, on CPU, the forward pass; its CUDA kernel needs a GPU."""
    mask = create_mask(
        block_mask(layout, CPU).mask_mod, None, None, layout.tokens, layout.tokens, device="cpu"
    )
    assert torch.equal(mask[0, 0], visible(layout))
    inputs = [tensor.detach() for tensor in tensors(layout)]
    torch.testing.assert_close(
        attend_by_blocks(*inputs, layout, SCALE), plain(*inputs, layout), atol=1e-5, rtol=1e-5
    )


def test_a_score_that_overwhelms_the_rest_stays_finite() -> None:
    """Log-sum-exps of the parts some hundreds apart, either way round."""
    layout = PackLayout((3,), ((2, 2),))
    query, key, value = (tensor.detach().double() for tensor in tensors(layout))
    for factor in (
        torch.tensor([300.0, 300, 300, 1, 1, 1, 1]),
        torch.tensor([1.0, 1, 1, 300, 300, 300, 300]),
    ):
        scaled = key * factor[:, None]
        out = attend_merged(query, scaled, value, layout, SCALE)
        torch.testing.assert_close(out, plain(query, scaled, value, layout))


def test_dropout_is_refused() -> None:
    layout = PackLayout((3,), ((2,),))
    with pytest.raises(NotImplementedError, match="no dropout"):
        _attention(torch.nn.Identity(), *tensors(layout), layout, SCALE, dropout=0.1)
