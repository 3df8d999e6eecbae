"""Attention over packed groups: `[prompt, response 1 ... response G]`, each response sees its prompt and itself.

A micro-batch is one flat sequence of such packs. `PackLayout` says where they begin and end; it travels in the
place of the attention mask through transformers' attention interface (`AttentionInterface`, key
`shared_prefix`), so the model is nobody's fork. Which kernel runs depends on the device alone: parts merged by
their log-sum-exp on CPU (`learner.merged_attention`), FlexAttention with a block mask on CUDA
(`learner.block_attention`).

The saving: G rows of P + R tokens become P + G R tokens, and the prompt's attention, quadratic in P, is computed
once instead of G times (the idea of Prefix Grouper, arXiv 2506.05433, here with M-RoPE and video).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, Qwen2_5_VLForConditionalGeneration

from learner.block_attention import attend_by_blocks
from learner.merged_attention import attend_merged

NAME = "shared_prefix"


@dataclass(frozen=True)
class PackLayout:
    """Lengths in tokens of the packs of a flat sequence, in order.

    Attributes:
        prompts: Of each pack's prompt.
        responses: Of each pack's responses.
    """

    prompts: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]

    @property
    def tokens(self) -> int:
        """Of the whole sequence."""
        return sum(self.prompts) + sum(map(sum, self.responses))

    def packs(self) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """First token, prompt length and response lengths of each pack."""
        start = 0
        for prompt, responses in zip(self.prompts, self.responses, strict=True):
            yield start, prompt, responses
            start += prompt + sum(responses)

    def bounds(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """What each token sees, three int32 tensors [tokens].

        Returns:
            Begin and end of the prompt that it sees whole, an empty one for a prompt's own tokens; and where the
            segment that it stands in begins, prompt or response, of which it sees what comes no later.
        """
        lengths, rows = [], []
        for start, prompt, responses in self.packs():
            lengths += [prompt, *responses]
            begins = accumulate(responses, initial=start + prompt)
            rows += [(start, start, start), *((start, start + prompt, begin) for begin in begins)][:-1]
        segments = torch.tensor(rows, dtype=torch.int32, device=device)
        tokens = segments.repeat_interleave(torch.tensor(lengths, device=device), 0, output_size=self.tokens)
        prompt_begin, prompt_end, own_begin = tokens.T.contiguous()
        return prompt_begin, prompt_end, own_begin


def use_shared_prefix(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Let the language model attend by `PackLayout`; the vision tower keeps its own attention."""
    AttentionInterface.register(NAME, _attention)
    model.model.language_model.config._attn_implementation = NAME


def as_mask(layout: PackLayout) -> dict[str, PackLayout]:
    """The `attention_mask` argument that brings a layout to every layer."""
    return {"full_attention": layout}


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: PackLayout,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention function.

    Args:
        query: [1, heads, tokens, width].
        key, value: [1, key-value heads, tokens, width].

    Returns:
        [1, tokens, heads, width], and no attention weights.

    Raises:
        NotImplementedError: the model wants dropout in its attention.
    """
    if dropout:
        raise NotImplementedError("shared-prefix attention has no dropout; set attention_dropout to 0")
    attend = attend_by_blocks if query.is_cuda else attend_merged
    return attend(query, key, value, attention_mask, scaling).transpose(1, 2), None
