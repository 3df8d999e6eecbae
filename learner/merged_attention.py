"""Shared-prefix attention from flash attention on CPU: parts computed apart, merged by their log-sum-exp.

A response's attention to `[prompt, itself]` is the softmax over two sets of keys. Each set is attended to by
itself, and the results are weighted by how much of the whole softmax's sum each holds; the prompt's keys are
read in place, once for all G responses. Backward needs no merging: given the merged output and log-sum-exp,
flash attention's own backward yields each part's exact share (as Ring Attention, arXiv 2310.01889, uses it).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from learner.shared_prefix import PackLayout

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend_merged(query: Tensor, key: Tensor, value: Tensor, layout: PackLayout, scale: float) -> Tensor:
    """Attention of a flat sequence of packs.

    Args:
        query: [1, heads, tokens, width].
        key, value: [1, key-value heads, tokens, width].
        scale: Factor of the scores.

    Returns:
        [1, heads, tokens, width].
    """
    outputs = []
    for start, prompt, responses in layout.packs():
        stop = start + prompt + sum(responses)
        q, k, v = (tensor[:, :, start:stop] for tensor in (query, key, value))
        if len(responses) == 1:
            outputs.append(
                scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
            )
        else:
            outputs.append(_PackAttention.apply(q, k, v, prompt, responses, scale))
    return torch.cat(outputs, dim=2)


class _PackAttention(torch.autograd.Function):
    """One pack: the prompt to itself, causally; all responses to the prompt; each response to itself, causally."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        prompt: int,
        responses: Sequence[int],
        scale: float,
    ) -> Tensor:
        q, k, v = query[:, :, :prompt], key[:, :, :prompt], value[:, :, :prompt]
        out_prompt, lse_prompt = _flash(q, k, v, 0.0, True, scale=scale)
        out_shared, lse_shared = _flash(query[:, :, prompt:], k, v, 0.0, False, scale=scale)
        own = [
            _flash(query[:, :, own], key[:, :, own], value[:, :, own], 0.0, True, scale=scale)
            for own in _slices(prompt, responses)
        ]
        out_own, lse_own = torch.cat([out for out, _ in own], 2), torch.cat([lse for _, lse in own], 2)
        lse = torch.logaddexp(lse_shared, lse_own)
        share = (lse_shared - lse).exp()[..., None].to(out_own.dtype)
        out = torch.cat([out_prompt, torch.lerp(out_own, out_shared, share)], 2)
        ctx.save_for_backward(query, key, value, out, torch.cat([lse_prompt, lse], 2))
        ctx.prompt, ctx.responses, ctx.scale = prompt, responses, scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        prompt = ctx.prompt
        # Read once: gradient checkpointing hands saved tensors out a single time.
        saved = ctx.saved_tensors
        tensors = (gradients[0], *saved)
        grads = [torch.zeros_like(tensor) for tensor in saved[:3]]
        head, tail = slice(0, prompt), slice(prompt, None)
        parts = [(head, head, True), (tail, head, False)]
        parts += [(own, own, True) for own in _slices(prompt, ctx.responses)]
        for queries, keys, causal in parts:
            grad_out, q, k, v, out, lse = (
                tensor[:, :, keys if place in (2, 3) else queries] for place, tensor in enumerate(tensors)
            )
            found = _flash_backward(grad_out, q, k, v, out, lse, 0.0, causal, scale=ctx.scale)
            for grad, part, where in zip(grads, found, (queries, keys, keys), strict=True):
                grad[:, :, where] += part
        return (*grads, None, None, None)


def _slices(prompt: int, responses: Sequence[int]) -> list[slice]:
    """Where each response stands in its pack."""
    return [slice(*ends) for ends in pairwise(accumulate(responses, initial=prompt))]
