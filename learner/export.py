"""Writing the policy as a Hugging Face checkpoint that transformers and vLLM load."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoProcessor, PreTrainedModel
from vllm.distributed.weight_transfer import WeightSource


def export_huggingface(
    folder: Path, policy: PreTrainedModel, source: WeightSource, processor: str, is_writer: bool
) -> None:
    """Write safetensors, config, tokenizer and processor. Collective; the writer holds the whole model.

    The folder appears complete or not at all; an older one is replaced.

    Args:
        processor: Folder or Hub id whose tokenizer and processor go along.
        is_writer: True on one rank, which writes; the others take part in gathering the weights.
    """
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in source:
        if is_writer:
            # Copied: the gathered tensor goes when the source moves on, and its storage may hold other
            # parameters.
            weights[name] = tensor.to("cpu", copy=True)
    if is_writer:
        unfinished = folder.with_name(f".{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        policy.save_pretrained(unfinished, state_dict=weights)
        AutoProcessor.from_pretrained(processor, trust_remote_code=False).save_pretrained(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
