"""A tiny Qwen2.5-VL: the real architecture and processor at about one million parameters.

`build_tiny_policy` writes a folder that transformers and vLLM load like any checkpoint from the Hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from data.demonstrations import demonstrate
from data.prompts import render_prompt
from data.sampling import SamplingContract
from data.synthetic import TASKS, make_prompts
from learner.tiny_tokenizer import (
    BOX_STARTS,
    CHAT_TEMPLATE,
    COORDINATES,
    NEXT_BOXES,
    NEXT_NUMBERS,
    SPECIAL_TOKENS,
    TIMES,
    build_tokenizer,
)

PATCH = 14
# Prompts to train the tokenizer on; their seeds lie below those of any run.
CORPUS_PER_TASK = 200


def build_tiny_policy(folder: str | Path, seed: int = 0, contract: SamplingContract | None = None) -> Path:
    """Write config, random weights, tokenizer and processor of the tiny policy.

    Args:
        folder: Created if needed.
        seed: Seeds the weights; the same seed gives the same bytes.
        contract: Sampling contract the prompts are written for; only their texts matter here.

    Returns:
        The folder.
    """
    folder = Path(folder)
    tokenizer = build_tokenizer(_corpus(contract or SamplingContract()))
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(tiny_config(tokenizer)).float()
    _order_numbers(model, tokenizer)
    _see_positions(model)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    _processor(tokenizer).save_pretrained(folder)
    return folder


def tiny_config(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    """The geometry: text 2 layers of 128, vision 2 blocks of 64."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text = {
        "vocab_size": math.ceil(len(tokenizer) / 64) * 64,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 4096,
        "initializer_range": 0.05,
        "bos_token_id": None,
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
        # Heads are 32 wide, so the rotary base is small: with Qwen's million the width section would not turn at all.
        # Most of it turns with time: a frame of one or two tokens has next to no height and width to tell apart.
        "rope_parameters": {"rope_type": "default", "rope_theta": 50.0, "mrope_section": [12, 2, 2]},
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_heads": 4,
        "out_hidden_size": 128,
        "patch_size": PATCH,
        "window_size": 4 * PATCH,
        "fullatt_block_indexes": [1],
        # A second listed in the think part and a box are four tokens long; so is a second of video.
        "tokens_per_second": 4,
        "initializer_range": 0.05,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )


def _corpus(contract: SamplingContract) -> Iterable[str]:
    for scene, prompt in make_prompts(TASKS, CORPUS_PER_TASK, first_seed=0, contract=contract):
        yield f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{render_prompt(prompt)}"
        yield f"<|im_end|>\n<|im_start|>assistant\n{demonstrate(scene, prompt)}"


def _processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLProcessor:
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(patch_size=PATCH),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(patch_size=PATCH),
        chat_template=CHAT_TEMPLATE,
    )


@torch.no_grad()
def _order_numbers(model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give number tokens embeddings in which near values lie near: sines and cosines of the value.

    A pretrained model knows the order of numbers; random embeddings would have to learn it value by value.
    """
    table = model.get_input_embeddings().weight
    scale = model.config.text_config.initializer_range
    for tokens in (TIMES, COORDINATES, BOX_STARTS, NEXT_BOXES, NEXT_NUMBERS):
        values = torch.tensor([float(token.lstrip("],[")) for token in tokens])
        angles = values[:, None] / values.max() * torch.linspace(0.5, 12.0, table.shape[1] // 2)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1) * scale * math.sqrt(2)
        offset = torch.randn(table.shape[1]) * scale
        table[tokenizer.convert_tokens_to_ids(list(tokens))] = (waves + offset) / math.sqrt(2)


@torch.no_grad()
def _see_positions(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Random key biases: through them a query finds a position by distance from the first step on.

    With Qwen's zeros the query's and the key's part of such a score each wait for the other to grow.
    """
    for layer in model.model.language_model.layers:
        layer.self_attn.k_proj.bias.normal_()
