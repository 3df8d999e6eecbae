"""Attention of the vision tower, whose patches attend within their window or their frame only.

Transformers calls its attention once per window: hundreds of calls of a few dozen patches for one clip. Only to an
implementation that calls itself flash does it hand the whole sequence with its boundaries
(`is_flash_attention_requested`); this one does, and computes all windows of equal length side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    lengths = cu_seq_lens_q.diff()
    runs = _runs(lengths)
    if len(runs) == len({length for length, _ in runs}):
        return _attend(query, key, value, runs, scaling)[None], None
    # Lengths alternate where windows at an edge are cut: those of equal length become neighbours, and go back.
    places = lengths.repeat_interleave(lengths).argsort(stable=True)
    query, key, value = (tensor.index_select(2, places) for tensor in (query, key, value))
    out = _attend(query, key, value, _runs(lengths.sort().values), scaling)
    return out.index_select(0, places.argsort())[None], None


def _runs(lengths: Tensor) -> list[tuple[int, int]]:
    """Each length, and how many windows of it stand side by side."""
    return [(length, sum(1 for _ in run)) for length, run in groupby(lengths.tolist())]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, runs: Sequence[tuple[int, int]], scaling: float
) -> Tensor:
    """[patches, heads, width], one call per run of windows of equal length."""
    outputs = []
    start = 0
    for length, windows in runs:
        stop = start + windows * length
        # [1, heads, windows * length, width] to [windows, heads, length, width], without a copy.
        q, k, v = (
            tensor[0, :, start:stop].unflatten(1, (windows, length)).transpose(0, 1)
            for tensor in (query, key, value)
        )
        out = scaled_dot_product_attention(q, k, v, scale=scaling)
        outputs.append(out.transpose(1, 2).flatten(0, 1))
        start = stop
    return torch.cat(outputs)
