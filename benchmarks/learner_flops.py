"""Floating-point operations that a step on one group cannot do without, for model-FLOPs utilisation (MFU).

As in PaLM (arXiv 2204.02311, appendix B): two per parameter and token forward, four backward; for attention, per layer
and pair of tokens that see each other, four times the width forward and eight backward. Useful is every token once: the
prompt's and all responses' through the language model, the responses' through its head, the clip's patches through the
vision tower. What a way computes twice, recomputes or masks out counts as time, not as use. The tower's attention, some
0.3% of the 7B's step, is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from benchmarks.learner_setting import Sizes

# Forward once, backward twice.
PASSES = 3
# Dense bfloat16 of an H200 SXM, by its data sheet: 1,979 TFLOPS with sparsity.
H200_FLOPS = 989e12


def useful_flops(
    model: Qwen2_5_VLForConditionalGeneration, sizes: Sizes, video_tokens: int, tower: bool
) -> float:
    """Of one step on one group.

    Args:
        video_tokens: Of the prompt.
        tower: Whether the vision tower trains; it needs nothing where its features are cached.
    """
    language, visual, config = model.model.language_model, model.model.visual, model.config.text_config
    responses = sizes.group * sizes.response
    pairs = sizes.prompt**2 / 2 + responses * (sizes.prompt + sizes.response / 2)
    products = _count([language.layers]) * (sizes.prompt + responses)
    products += _count([model.lm_head]) * responses
    products += 2 * config.num_hidden_layers * config.hidden_size * pairs
    if tower:
        patches = video_tokens * visual.spatial_merge_size**2
        products += _count([visual.patch_embed, visual.blocks]) * patches
        products += _count([visual.merger]) * video_tokens
    return 2.0 * PASSES * products


def _count(modules: Iterable[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
