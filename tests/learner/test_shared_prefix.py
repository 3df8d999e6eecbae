"""Attention over packed groups equals masked softmax attention, in both kernels, outputs and gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask
from torch.utils._python_dispatch import TorchDispatchMode

from learner.block_attention import BLOCK, attend_by_blocks, block_mask
from learner.merged_attention import attend_merged
from learner.shared_prefix import PackLayout, _attention

HEADS, KEY_HEADS, WIDTH = 4, 2, 8
SCALE = 0.3
CPU, CUDA = torch.device("cpu"), torch.device("cuda")

packs = st.tuples(st.integers(1, 40), st.lists(st.integers(1, 12), min_size=1, max_size=5).map(tuple))
layouts = st.lists(packs, min_size=1, max_size=3).map(lambda found: PackLayout(*zip(*found, strict=True)))


def tensors(layout: PackLayout, width: int = WIDTH) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(layout.tokens)
    shapes = [(1, heads, layout.tokens, width) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]
    query, key, value = (torch.randn(shape, generator=generator) * 2 for shape in shapes)
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


# Within a block, up to its end and beyond it, and over several.
LONG = [
    PackLayout((BLOCK,), ((BLOCK, BLOCK),)),
    PackLayout((3 * BLOCK - 1, 40), ((17, 300, BLOCK), (5,))),
    PackLayout((700, 1, 260), ((3, 3, 3, 3), (1,), (2 * BLOCK, 1))),
]


@pytest.mark.parametrize("layout", LONG)
def test_blocks_are_those_that_the_dense_mask_yields(layout: PackLayout) -> None:
    """Whole and partial ones, by row and, for the backward pass, by column."""
    dense, tokens = visible(layout), layout.tokens
    wanted = create_block_mask(lambda _b, _h, q, k: dense[q, k], None, None, tokens, tokens, device="cpu")
    found = block_mask(layout, CPU)
    assert found.shape == wanted.shape and found.BLOCK_SIZE == wanted.BLOCK_SIZE
    for kind in ("kv", "full_kv", "q", "full_q"):
        mine, its = (_block_sets(mask, kind) for mask in (found, wanted))
        assert mine == its, kind
    assert any(_block_sets(found, "full_kv")) or tokens < 4 * BLOCK


def _block_sets(mask: BlockMask, kind: str) -> list[set[int]]:
    counts, indices = getattr(mask, f"{kind}_num_blocks")[0, 0], getattr(mask, f"{kind}_indices")[0, 0]
    return [set(row[:count].tolist()) for count, row in zip(counts, indices, strict=True)]


def test_a_block_mask_writes_down_no_pairs_of_tokens() -> None:
    """Nothing that it allocates grows with the square of the sequence, but for the blocks themselves."""
    layout = PackLayout((4096,), ((512,) * 8,))
    with _Largest() as largest:
        block_mask(layout, CPU)
    assert 0 < largest.elements < layout.tokens**2 / 64


class _Largest(TorchDispatchMode):
    """Remembers the elements of the largest tensor made under it."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.elements = max(self.elements, out.numel())
        return out


@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlexAttention's kernel is for CUDA")
@pytest.mark.parametrize(
    ("dtype", "error"),
    [pytest.param(torch.float32, 5e-3, id="float32"), pytest.param(torch.bfloat16, 2e-2, id="bfloat16")],
)
@pytest.mark.parametrize("layout", LONG)
def test_the_cuda_kernel_equals_masked_softmax(layout: PackLayout, dtype: torch.dtype, error: float) -> None:
    """Outputs and gradients, relative in norm; float32 products may run on tensor cores, with ten bits."""
    found = [tensor.detach().to(CUDA, dtype).requires_grad_() for tensor in tensors(layout, width=64)]
    expected = [tensor.detach().double().cpu().requires_grad_() for tensor in found]
    out, wanted = attend_by_blocks(*found, layout, SCALE), plain(*expected, layout)
    assert out.dtype == dtype
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (out * weights.to(CUDA, dtype)).sum().backward()
    (wanted * weights.to(dtype).double()).sum().backward()
    pairs = [(out, wanted), *((mine.grad, its.grad) for mine, its in zip(found, expected, strict=True))]
    for mine, its in pairs:
        assert (mine.detach().double().cpu() - its.detach()).norm() <= error * its.detach().norm()


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
