"""Shared-prefix attention on CUDA: FlexAttention (arXiv 2412.05496) skips every block that no token may see."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

if TYPE_CHECKING:
    from learner.shared_prefix import PackLayout


def attend_by_blocks(query: Tensor, key: Tensor, value: Tensor, layout: PackLayout, scale: float) -> Tensor:
    """Attention of a flat sequence of packs; arguments and result as in `learner.merged_attention`."""
    mask = block_mask(layout, query.device)
    attend = _compiled() if query.is_cuda else flex_attention
    out: Tensor = attend(query, key, value, block_mask=mask, scale=scale, enable_gqa=True)
    return out


# All layers and passes of a micro-batch ask for the same mask, one micro-batch after the other.
@lru_cache(maxsize=2)
def block_mask(layout: PackLayout, device: torch.device) -> BlockMask:
    """Which tokens see which: those of the prompt and of the own response that come no later."""
    pack, segment = layout.segments(device)

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (segment[key] == 0) | (segment[key] == segment[query])
        return (query >= key) & (pack[query] == pack[key]) & same

    return create_block_mask(visible, None, None, layout.tokens, layout.tokens, device=device)


@cache
def _compiled() -> Any:
    """One kernel for all lengths; compiled at its first call."""
    return torch.compile(flex_attention, dynamic=True)
