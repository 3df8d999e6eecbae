"""Lets vLLM take the features of a video, in place of its pixels, with the time between their frames.

vLLM 0.32 reads `video_embeds` and `video_grid_thw` and drops `second_per_grid_ts` on this path, so it would place
every clip in time as if its grids were a second apart. The learner would not, and the two would disagree.
"""

from __future__ import annotations

from typing import Any

SPACING = "second_per_grid_ts"


def keep_spacing() -> None:
    """Add the field to vLLM's parser of video embeddings, in this process. May be called any number of times."""
    from vllm.model_executor.models import qwen2_vl
    from vllm.multimodal.inputs import MultiModalFieldConfig
    from vllm.multimodal.parse import DictEmbeddingItems

    parser = qwen2_vl.Qwen2VLMultiModalDataParser
    original = parser._parse_video_data
    if getattr(original, "keeps_spacing", False):
        return

    def parse(self: Any, data: Any) -> Any:
        if not isinstance(data, dict):
            return original(self, data)
        required, optional = self.embedding_field_sets("video")
        fields = qwen2_vl._create_qwen2vl_field_factory(self._spatial_merge_size)
        spacing = MultiModalFieldConfig.batched("video", keep_on_cpu=True)
        return DictEmbeddingItems(
            data,
            modality="video",
            required_fields=required,
            optional_fields=optional,
            fields_factory=lambda inputs: {**fields(inputs), SPACING: spacing},
        )

    parse.keeps_spacing = True  # type: ignore[attr-defined]
    parser._parse_video_data = parse
