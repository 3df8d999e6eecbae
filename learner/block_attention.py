"""Shared-prefix attention on CUDA: FlexAttention (arXiv 2412.05496) skips every block that no token may see."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

if TYPE_CHECKING:
    from learner.shared_prefix import PackLayout

# Tokens of a block on either side; what FlexAttention's kernels take by default.
BLOCK = 128


def attend_by_blocks(query: Tensor, key: Tensor, value: Tensor, layout: PackLayout, scale: float) -> Tensor:
    """Attention of a flat sequence of packs; arguments and result as in `learner.merged_attention`."""
    mask = block_mask(layout, query.device)
    attend = _compiled() if query.is_cuda else flex_attention
    out: Tensor = attend(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    return out


# All layers and passes of a micro-batch ask for the same mask, one micro-batch after the other.
@lru_cache(maxsize=2)
def block_mask(layout: PackLayout, device: torch.device) -> BlockMask:
    """Which tokens see which: those of the prompt and of the own response that come no later.

    Made from the layout's bounds: `create_block_mask` would write down all pairs of tokens first, 1 GB at 32,768.
    """
    prompt_begin, prompt_end, own_begin = layout.bounds(device)

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        in_prompt = (key >= prompt_begin[query]) & (key < prompt_end[query])
        return in_prompt | ((key >= own_begin[query]) & (key <= query))

    seen = _pairs_by_block(prompt_begin, prompt_end, own_begin)
    whole = seen == BLOCK * BLOCK
    return BlockMask.from_kv_blocks(
        *_ordered((seen > 0) & ~whole),
        *_ordered(whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=visible,
        seq_lengths=(layout.tokens, layout.tokens),
    )


def _pairs_by_block(prompt_begin: Tensor, prompt_end: Tensor, own_begin: Tensor) -> Tensor:
    """[query blocks, key blocks]: how many pairs of tokens are seen in each block."""
    tokens = len(own_begin)
    blocks = -(-tokens // BLOCK)
    first = torch.arange(blocks, device=own_begin.device, dtype=torch.int32) * BLOCK
    own_end = torch.arange(1, tokens + 1, device=own_begin.device, dtype=torch.int32)
    keys = _overlap(prompt_begin, prompt_end, first) + _overlap(own_begin, own_end, first)
    seen = keys.new_zeros(blocks, BLOCK, blocks)
    seen.view(-1, blocks)[:tokens] = keys
    return seen.sum(1)


def _overlap(begin: Tensor, end: Tensor, first: Tensor) -> Tensor:
    """[tokens, key blocks]: how many keys of each block lie between a token's bounds."""
    return (end[:, None].minimum(first + BLOCK) - begin[:, None].maximum(first)).clamp(min=0)


def _ordered(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """A block mask's parts: per row of blocks the number of those that are set, and their indexes first of all."""
    mask = blocks.int()[None, None]
    return mask.sum(-1, dtype=torch.int32), mask.argsort(dim=-1, descending=True, stable=True).int()


@cache
def _compiled() -> Any:
    """One kernel for all lengths; compiled at its first call."""
    return torch.compile(flex_attention, dynamic=True)
