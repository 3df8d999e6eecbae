"""A tiny random policy and an encoder that needs neither tokenizer nor video files."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from data.encoding import EncodedPrompt
from data.records import TrainSample
from data.schema import Task, VideoPrompt

VOCABULARY = 96
VIDEO_TOKEN = 5
FIRST_TEXT_TOKEN = 10


class TinyClip(tuple[int, int, int]):
    """A patch grid (time, height, width) that goes by a name."""

    digest: str

    @classmethod
    def named(cls, digest: str, grid: tuple[int, int, int]) -> TinyClip:
        clip = cls(grid)
        clip.digest = digest
        return clip


class RandomEncoder:
    """Gives each prompt id its own tokens and pixels. The clip is its patch grid (time, height, width), or none."""

    video_token_id = VIDEO_TOKEN

    def __init__(self) -> None:
        self.calls: list[str] = []

    def encode(
        self, prompt: VideoPrompt, clip: tuple[int, int, int] | None, pixels: bool = True
    ) -> EncodedPrompt:
        self.calls.append(prompt.id)
        generator = torch.Generator().manual_seed(sum(prompt.id.encode()))
        text = torch.randint(FIRST_TEXT_TOKEN, VOCABULARY, (9,), generator=generator).tolist()
        if clip is None:
            nothing = torch.empty(0, 3, dtype=torch.long)
            return EncodedPrompt(text, torch.arange(9).expand(3, -1), torch.empty(0), nothing, 1.0, 0)
        time, height, width = clip
        placeholders = time * height * width // 4
        return EncodedPrompt(
            token_ids=[*text[:4], *[VIDEO_TOKEN] * placeholders, *text[4:]],
            pixel_values_videos=torch.randn(time * height * width * pixels, 1176, generator=generator),
            video_grid_thw=torch.tensor([clip]),
            position_ids=positions(4, clip, 5),
            second_per_grid_ts=1.0,
            num_video_tokens=placeholders,
        )


def positions(before: int, clip: tuple[int, int, int], after: int) -> Tensor:
    """Text, a video at two time units per grid, text."""
    time, height, width = clip[0], clip[1] // 2, clip[2] // 2
    grid = torch.cartesian_prod(torch.arange(time) * 2, torch.arange(height), torch.arange(width)).T + before
    start = int(grid.max()) + 1
    return torch.cat(
        [torch.arange(before).expand(3, -1), grid, torch.arange(start, start + after).expand(3, -1)], 1
    )


def build_policy(folder: Path, tie: bool = True, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    text = dict(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]},
        tie_word_embeddings=tie,
    )
    vision = dict(
        depth=2,
        hidden_size=32,
        intermediate_size=48,
        num_heads=2,
        out_hidden_size=64,
        window_size=56,
        fullatt_block_indexes=[1],
        tokens_per_second=2,
        initializer_range=0.1,
    )
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=tie,
        video_token_id=VIDEO_TOKEN,
        image_token_id=6,
        vision_start_token_id=7,
        vision_end_token_id=8,
    )
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    return folder


def make_samples(
    num_groups: int, group_size: int, seed: int = 0, supervised: bool = False
) -> list[TrainSample]:
    """Groups over clips of several shapes, with responses of several lengths."""
    generator = random.Random(seed)
    encoder = RandomEncoder()
    samples = []
    for group in range(num_groups):
        prompt = VideoPrompt(
            f"prompt-{seed}-{group}", Task.MULTIPLE_CHOICE, "clip.mp4", "what?", {"answer": "A"}, 4.0
        )
        clip = TinyClip.named(prompt.id, generator.choice([(1, 4, 4), (2, 4, 4), (3, 4, 8)]))
        token_ids = encoder.encode(prompt, clip).token_ids
        for _ in range(group_size):
            response = [
                generator.randrange(FIRST_TEXT_TOKEN, VOCABULARY) for _ in range(generator.randint(1, 9))
            ]
            samples.append(
                TrainSample(
                    prompt=prompt,
                    prompt_token_ids=token_ids,
                    response_token_ids=response,
                    clip=clip,
                    rollout_logprobs=[] if supervised else [generator.uniform(-5.0, -4.0) for _ in response],
                    advantage=generator.uniform(-1.0, 1.0),
                )
            )
    return samples
