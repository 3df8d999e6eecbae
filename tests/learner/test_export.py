"""The exported folder is a checkpoint like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from learner.rank import LearnerRank


@pytest.mark.parametrize("stage", [1, 3])
def test_export_loads_with_the_same_weights(
    start_rank: Callable[..., LearnerRank], tiny_folder: Path, tmp_path: Path, stage: int
) -> None:
    rank = start_rank(tiny_folder, zero_stage=stage)
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "leftover.txt").write_text("of an earlier export")
    rank.export_hf(str(folder))
    model, report = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    exported = dict(model.named_parameters())
    for name, tensor in rank.weights:
        assert torch.equal(exported[name], tensor), name
    assert model.lm_head.weight is model.get_input_embeddings().weight
    processors = [AutoProcessor.from_pretrained(path) for path in (tiny_folder, folder)]
    text = "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|> 3.5 to 4.0<|im_end|>"
    assert len({tuple(processor.tokenizer.encode(text)) for processor in processors}) == 1
    assert processors[0].chat_template == processors[1].chat_template
    assert not (folder / "leftover.txt").exists() and len(list(tmp_path.iterdir())) == 1
