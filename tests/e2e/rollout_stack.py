"""What the end-to-end tests of the acting side share: clips of many shapes, prompts, transformers as the referee."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from data.encoding import VideoEncoder, vllm_request
from data.mrope import MropeLayout, mrope_position_ids
from data.records import Response, Rollout, SamplingSettings
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt
from data.video import Clip

__all__ = ["Referee", "make_clip", "make_prompt", "settings_for", "vllm_request"]


def make_clip(frames: int = 8, height: int = 56, width: int = 84, fps: float = 2.0, seed: int = 0) -> Clip:
    """Random pixels; a clip's digest names its arguments."""
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
    return Clip(
        frames=pixels,
        frame_indices=tuple(range(frames)),
        frame_times=tuple(number / fps for number in range(frames)),
        moments=tuple(number / fps for number in range(frames)),
        duration=frames / fps,
        sampled_fps=fps,
        seconds_per_grid=SamplingContract().seconds_per_grid(fps),
        temporal_patch_size=2,
        digest=f"{frames}-{height}-{width}-{fps}-{seed}",
    )


def make_prompt(name: str = "prompt") -> VideoPrompt:
    return VideoPrompt(
        name, Task.TEMPORAL_GROUNDING, f"{name}.mp4", "a red circle appears", {"interval": [0, 1]}, 4.0
    )


def settings_for(
    group_size: int = 4, temperature: float = 1.0, max_tokens: int = 24, seed: int = 0
) -> SamplingSettings:
    return SamplingSettings(group_size, temperature, max_tokens, seed)


class Referee:
    """The same policy in transformers, with our own position ids and the same tokens banned."""

    def __init__(self, folder: str | Path) -> None:
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.encoder = VideoEncoder(folder, SamplingContract())
        self._layout = MropeLayout.from_config(self.model.config)

    def text(self, prompt: VideoPrompt) -> str:
        return self.encoder.prompt_text(prompt)

    @torch.no_grad()
    def distributions(
        self, rollout: Rollout, response: Response, clip: Clip, temperature: float = 1.0
    ) -> torch.Tensor:
        """Log-probabilities over the vocabulary before each response token, `[tokens, vocabulary]`."""
        encoded = self.encoder.encode(rollout.prompt, clip)
        ids = encoded.token_ids + response.token_ids
        positions = mrope_position_ids(ids, encoded.video_grid_thw, [clip.seconds_per_grid], self._layout)
        tokens = torch.tensor([ids])
        logits = self.model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            position_ids=positions[:, None],
            pixel_values_videos=encoded.pixel_values_videos,
            video_grid_thw=encoded.video_grid_thw,
        ).logits[0, len(encoded.token_ids) - 1 : -1]
        logits = logits / temperature
        logits[:, self.encoder.banned_token_ids] = -torch.inf
        return logits.log_softmax(-1)

    def mismatch(self, rollout: Rollout, clip: Clip, temperature: float = 1.0, since: int = 0) -> float:
        """Mean of exp|difference of log-probabilities| over all tokens of a group from index `since` on."""
        gaps = []
        for response in rollout.responses:
            expected = self.distributions(rollout, response, clip, temperature)
            chosen = expected.gather(1, torch.tensor(response.token_ids)[:, None])[:, 0]
            gaps.append((chosen - torch.tensor(response.logprobs)).abs()[since:])
        return float(torch.cat(gaps).exp().mean())

    def perturb(self, seed: int, scale: float = 0.02) -> None:
        """Change every parameter."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
