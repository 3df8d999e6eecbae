"""Attention of the vision tower, whose patches attend within their window or their frame only.

Transformers calls its attention once per window: hundreds of calls of a few dozen patches for one clip. Only to an
implementation that calls itself flash does it hand the whole sequence with its boundaries
(`is_flash_attention_requested`); this one does, and computes neighbouring windows of equal length side by side.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

NAME = "flash_by_length"


def use_attention_by_length(tower: PreTrainedModel) -> None:
    """Let a vision tower attend to windows of equal length together.

    Not to be called before it is built: transformers would look for a flash kernel of that name.
    """
    AttentionInterface.register(NAME, _attention)
    tower.config._attn_implementation = NAME


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    cu_seq_lens_q: Tensor,
    **_: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention function.

    Args:
        query, key, value: [1, heads, patches, width].
        cu_seq_lens_q: [windows + 1], where windows begin and end.

    Returns:
        [1, patches, heads, width], and no attention weights.
    """
    outputs = []
    start = 0
    for length, group in groupby(cu_seq_lens_q.diff().tolist()):
        windows = sum(1 for _ in group)
        stop = start + windows * length
        # [1, heads, windows * length, width] to [windows, heads, length, width], without a copy.
        q, k, v = (
            tensor[0, :, start:stop].unflatten(1, (windows, length)).transpose(0, 1)
            for tensor in (query, key, value)
        )
        out = scaled_dot_product_attention(q, k, v, scale=scaling)
        outputs.append(out.transpose(1, 2).flatten(0, 1))
        start = stop
    return torch.cat(outputs)[None], None
