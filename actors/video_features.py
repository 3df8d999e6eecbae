"""Lets vLLM take the features of a video, in place of its pixels, with the time between their frames.

vLLM 0.32 reads `video_embeds` and `video_grid_thw` and drops `second_per_grid_ts` on this path, so it would place
every clip in time as if its grids were a second apart. The learner would not, and the two would disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

SPACING = "second_per_grid_ts"


def keep_spacing() -> None:
    """Add the field to vLLM's parser of Qwen2-VL embeddings, in this process. May be called any number of times."""
    from vllm.model_executor.models import qwen2_vl
    from vllm.multimodal.inputs import MultiModalFieldConfig

    original: Callable[[int], Callable[[Mapping[str, Any]], Any]] = qwen2_vl._create_qwen2vl_field_factory
    if getattr(original, "keeps_spacing", False):
        return

    def with_spacing(spatial_merge_size: int) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        fields = original(spatial_merge_size)
        spacing = MultiModalFieldConfig.batched("video", keep_on_cpu=True)
        return lambda inputs: fields(inputs) | {SPACING: spacing}

    with_spacing.keeps_spacing = True  # type: ignore[attr-defined]
    qwen2_vl._create_qwen2vl_field_factory = with_spacing
