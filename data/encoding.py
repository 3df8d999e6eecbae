"""A prompt and its clip as the two engines take them: tensors for transformers, a request for vLLM.

Both get the same frames, the same metadata and the same processor switches from here, so neither samples, resizes or
times the video in its own way.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoProcessor
from transformers.video_utils import VideoMetadata

from data.mrope import MropeLayout, mrope_position_ids
from data.prompts import THINKING, PromptStyle, render_prompt
from data.sampling import SamplingContract
from data.schema import VISION_TOKENS, VideoPrompt
from data.video import Clip

# For the video processor of either engine: the frames are what the policy is to see.
VIDEO_KWARGS = {"do_resize": False, "do_sample_frames": False, "cap_pixels_per_frame": False}

# Frames that lie in the object store are read-only, and are only read.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt ready for a forward pass of transformers' Qwen2.5-VL.

    Attributes:
        token_ids: The prompt, its video placeholder repeated once per video token. Length L.
        position_ids: int64 `[3, L]`, M-RoPE ids; transformers' own are wrong for video.
        pixel_values_videos: float32 `[patches, channels * temporal_patch_size * patch_size**2]`, normalised.
        video_grid_thw: int64 `[1, 3]`, patches in time, height and width.
        second_per_grid_ts: Seconds of video in one temporal patch; already in `position_ids`.
        num_video_tokens: How many features the vision tower will give.
    """

    token_ids: list[int]
    position_ids: torch.Tensor
    pixel_values_videos: torch.Tensor
    video_grid_thw: torch.Tensor
    second_per_grid_ts: float
    num_video_tokens: int


class VideoEncoder:
    """Turns a prompt and its clip into what the policy reads.

    Attributes:
        video_token_id: The video placeholder.
        banned_token_ids: See `banned_token_ids`.
    """

    def __init__(
        self, model_path: str | Path, contract: SamplingContract, style: PromptStyle = THINKING
    ) -> None:
        """Load tokenizer, chat template, video processor and what the position ids depend on.

        Args:
            model_path: Local folder or Hub id of a Qwen2.5-VL.
            contract: What the clips were sampled by.
            style: How the prompts ask for their answers.

        Raises:
            ValueError: the model cuts frames into other patches than the contract.
        """
        self._processor: Any = AutoProcessor.from_pretrained(str(model_path), trust_remote_code=False)
        self._layout = MropeLayout.from_config(
            AutoConfig.from_pretrained(str(model_path), trust_remote_code=False)
        )
        self._patch_size = int(self._processor.video_processor.patch_size)
        self._style = style
        self.video_token_id = self._layout.video_token_id
        self.banned_token_ids = banned_token_ids(self._processor.tokenizer)
        for name in ("patch_size", "merge_size", "temporal_patch_size"):
            theirs, ours = getattr(self._processor.video_processor, name), getattr(contract, name)
            if theirs != ours:
                raise ValueError(f"{model_path} has {name} {theirs}, the sampling contract {ours}")

    def prompt_text(self, prompt: VideoPrompt) -> str:
        """The whole prompt in chat layout: one user turn, the text first and one video placeholder after it."""
        content = [{"type": "text", "text": render_prompt(prompt, self._style)}, {"type": "video"}]
        turns = [{"role": "user", "content": content}]
        return str(self._processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def text_tokens(self, prompt: VideoPrompt) -> int:
        """How many tokens the prompt has beside those of its clip."""
        return len(self._processor.tokenizer.encode(self.prompt_text(prompt), add_special_tokens=False)) - 1

    def response_ids(self, text: str) -> list[int]:
        """A response written by hand as token ids, the end of the turn included."""
        tokenizer = self._processor.tokenizer
        return [*tokenizer.encode(text, add_special_tokens=False), int(tokenizer.eos_token_id)]

    def encode(self, prompt: VideoPrompt, clip: Clip, pixels: bool = True) -> EncodedPrompt:
        """Encode a prompt and its clip, of which there must be one: a prompt of text alone is not supported.

        Args:
            pixels: False leaves the pixel values empty: the clip's features are known already.

        Raises:
            ValueError: the prompt's text holds a video placeholder of its own.
        """
        values, grid = (
            self._encode_video(clip) if pixels else (torch.empty(0), patch_grid(clip, self._patch_size))
        )
        num_video_tokens = int(grid.prod()) // self._layout.spatial_merge_size**2
        token_ids = self.prompt_ids(prompt, num_video_tokens)
        return EncodedPrompt(
            token_ids=token_ids,
            position_ids=mrope_position_ids(token_ids, grid, [clip.seconds_per_grid], self._layout),
            pixel_values_videos=values,
            video_grid_thw=grid,
            second_per_grid_ts=clip.seconds_per_grid,
            num_video_tokens=num_video_tokens,
        )

    def prompt_ids(self, prompt: VideoPrompt, num_video_tokens: int) -> list[int]:
        """The prompt's tokens with the placeholder repeated `num_video_tokens` times.

        Raises:
            ValueError: the prompt's text holds a video placeholder of its own.
        """
        token_ids: list[int] = self._processor.tokenizer.encode(
            self.prompt_text(prompt), add_special_tokens=False
        )
        found = token_ids.count(self.video_token_id)
        if found != 1:
            raise ValueError(
                f"prompt {prompt.id!r} has {found} video placeholders, its text must not contain one"
            )
        at = token_ids.index(self.video_token_id)
        return token_ids[:at] + [self.video_token_id] * num_video_tokens + token_ids[at + 1 :]

    def _encode_video(self, clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = self._processor.video_processor(
            [clip.frames],
            video_metadata=[VideoMetadata(**video_metadata(clip))],
            return_tensors="pt",
            **VIDEO_KWARGS,
        )
        return encoded["pixel_values_videos"], encoded["video_grid_thw"]


def vllm_request(
    clip: Clip, prompt: str, features: torch.Tensor | None = None, patch_size: int = 14
) -> dict[str, Any]:
    """The prompt that vLLM's `generate` takes.

    Args:
        clip: Its digest stands for its pixels in vLLM's caches, so that they are never hashed.
        prompt: As `VideoEncoder.prompt_text` gives it, with one video placeholder.
        features: `[tokens, width]` of the clip from a frozen vision tower, in place of its pixels.
        patch_size: Pixels per side of a patch; read with `features` only.
    """
    common = {"prompt": prompt, "multi_modal_uuids": {"video": [clip.digest]}}
    if features is not None:
        video = {
            "video_embeds": features,
            "video_grid_thw": patch_grid(clip, patch_size),
            "second_per_grid_ts": torch.tensor([clip.seconds_per_grid]),
        }
        return common | {"multi_modal_data": {"video": video}}
    return common | {
        "multi_modal_data": {"video": [(clip.frames, video_metadata(clip))]},
        "mm_processor_kwargs": {"videos_kwargs": dict(VIDEO_KWARGS)},
    }


def patch_grid(clip: Clip, patch_size: int) -> torch.Tensor:
    """int64 `[1, 3]`, patches in time, height and width, from the clip's shape alone."""
    frames, height, width, _ = clip.frames.shape
    return torch.tensor([[frames // clip.temporal_patch_size, height // patch_size, width // patch_size]])


def video_metadata(clip: Clip) -> dict[str, Any]:
    """What either engine's processor is told about the frames: a video of its own, all of whose frames were taken.

    Both compute seconds per grid as `temporal_patch_size / (len(frames_indices) / total_num_frames * fps)`
    (`VideoMetadata.sampled_fps` of transformers), which here is `clip.seconds_per_grid` whatever the source's rate.
    """
    count, fps = len(clip.frames), clip.temporal_patch_size / clip.seconds_per_grid
    return {
        "total_num_frames": count,
        "fps": fps,
        "duration": count / fps,
        "frames_indices": list(range(count)),
        "video_backend": "pyav",
    }


def banned_token_ids(tokenizer: Any) -> list[int]:
    """Ids of the vision tokens, not to be sampled: the learner would count more placeholders than features."""
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[token] for token in VISION_TOKENS if token in vocabulary]
