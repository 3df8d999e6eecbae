"""The setting of the learner's benchmark: a Qwen2.5-VL with random weights, one group on a synthetic video prompt.

Two sizes: the demo's policy scaled to 20 million parameters, and the geometry of Qwen2.5-VL-7B.
"""

from __future__ import annotations

import random
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from data.encoding import EncodedPrompt
from data.mrope import MropeLayout, mrope_position_ids
from learner.rows import Row

CPU = torch.device("cpu")
VIDEO_TOKEN = 5
FIRST_TEXT_TOKEN = 10
SPECIAL = {
    "video_token_id": VIDEO_TOKEN,
    "image_token_id": 6,
    "vision_start_token_id": 7,
    "vision_end_token_id": 8,
}
# Patches per side of a frame: 64 video tokens for every two frames.
SIDE = 16
TEXT_TOKENS = 32


@dataclass(frozen=True)
class Sizes:
    """Of one prompt and its group.

    Attributes:
        prompt: Prompt tokens, those of the video included.
        response: Tokens of each response.
        group: G, responses.
    """

    prompt: int = 2048
    response: int = 128
    group: int = 8


@dataclass(frozen=True)
class Policy:
    """What is trained, in which numbers and where.

    Attributes:
        checkpointing: Recompute activations in the backward pass.
    """

    config: Qwen2_5_VLConfig
    dtype: torch.dtype = torch.float32
    device: torch.device = CPU
    checkpointing: bool = False

    def build(self) -> Qwen2_5_VLForConditionalGeneration:
        """The model, ready to be trained; random weights, the same at every call."""
        # Each has its own: which attention it uses stands in there.
        model = build_model(deepcopy(self.config), self.dtype, self.device).train()
        if self.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        return model


def small_config() -> Qwen2_5_VLConfig:
    """The demo's policy scaled to about 20 million parameters."""
    text = {
        "vocab_size": 1024,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": 4,
        "hidden_size": 192,
        "intermediate_size": 576,
        "num_heads": 4,
        "out_hidden_size": 384,
        "fullatt_block_indexes": [3],
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **SPECIAL)


def large_config() -> Qwen2_5_VLConfig:
    """The geometry of Qwen2.5-VL-7B-Instruct, by its config.json; the vision tower is transformers' default one."""
    return _published(3584, 18_944, 28, 28, 4, 152_064)


def medium_config() -> Qwen2_5_VLConfig:
    """The geometry of Qwen2.5-VL-3B-Instruct."""
    return _published(2048, 11_008, 36, 16, 2, 151_936, tied=True)


def tiny_config() -> Qwen2_5_VLConfig:
    """The small policy with few layers, to try a script with."""
    config = small_config()
    config.text_config.num_hidden_layers = 2
    config.text_config.layer_types = config.text_config.layer_types[:2]
    config.text_config.intermediate_size = 96
    return config


def _published(
    hidden: int, inner: int, layers: int, heads: int, key_heads: int, vocabulary: int, tied: bool = False
) -> Qwen2_5_VLConfig:
    text = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "max_position_embeddings": 128_000,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
        "tie_word_embeddings": tied,
    }
    vision = {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": hidden,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **SPECIAL)


def build_model(
    config: Qwen2_5_VLConfig, dtype: torch.dtype = torch.float32, device: torch.device = CPU, seed: int = 0
) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights; the same seed gives the same ones."""
    torch.manual_seed(seed)
    config._attn_implementation = "sdpa"
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return Qwen2_5_VLForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(before)


def make_rows(config: Qwen2_5_VLConfig, sizes: Sizes, seed: int = 0) -> list[Row]:
    """One group: a video prompt of `sizes.prompt` tokens and its responses, all of random content."""
    rng = random.Random(seed)
    prompt = _prompt(config, sizes.prompt, rng)
    vocabulary = config.text_config.vocab_size
    return [
        Row(
            prompt_key="prompt",
            prompt=prompt,
            response=[rng.randrange(FIRST_TEXT_TOKEN, vocabulary) for _ in range(sizes.response)],
            rollout_logprobs=[rng.uniform(-7.2, -6.8) for _ in range(sizes.response)],
            advantage=rng.uniform(-1.0, 1.0),
        )
        for _ in range(sizes.group)
    ]


def _prompt(config: Qwen2_5_VLConfig, length: int, rng: random.Random) -> EncodedPrompt:
    per_grid = SIDE * SIDE // 4
    grids = (length - TEXT_TOKENS) // per_grid
    if grids < 1:
        raise ValueError(f"a prompt of {length} tokens has no room for a video; {TEXT_TOKENS + per_grid} do")
    video = grids * per_grid
    text = [rng.randrange(FIRST_TEXT_TOKEN, config.text_config.vocab_size) for _ in range(length - video)]
    token_ids = [*text[: len(text) // 2], *[VIDEO_TOKEN] * video, *text[len(text) // 2 :]]
    grid = torch.tensor([[grids, SIDE, SIDE]])
    return EncodedPrompt(
        token_ids=token_ids,
        position_ids=mrope_position_ids(token_ids, grid, [1.0], MropeLayout.from_config(config)),
        pixel_values_videos=_pixels(grids * SIDE * SIDE, rng),
        video_grid_thw=grid,
        second_per_grid_ts=1.0,
        num_video_tokens=video,
    )


def _pixels(patches: int, rng: random.Random) -> Tensor:
    return torch.randn(patches, 1176, generator=torch.Generator().manual_seed(rng.randrange(1 << 30)))
