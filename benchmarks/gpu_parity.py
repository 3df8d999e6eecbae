"""Whether an engine alone and the learner's forward pass give the same log-probabilities, greedy and sampled.

vLLM has two model runners: on CUDA it takes the second by itself, which runs on no CPU, and
VLLM_USE_V2_MODEL_RUNNER=0 goes back to the first.
"""

from __future__ import annotations

import asyncio
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.learner_setting import build_model, medium_config, tiny_config
from data.encoding import VideoEncoder
from data.records import Rollout, SamplingSettings
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt
from data.video import Clip

# Frames, height, width, frames per second: all give other position ids.
SHAPES = ((8, 56, 56, 2.0), (6, 28, 140, 1.3), (20, 112, 84, 0.5), (4, 252, 252, 7.0))
GREEDY, SAMPLED = SamplingSettings(1, 0.0, 64, 0), SamplingSettings(8, 1.0, 64, 0)
MOST = 1.05
# Of 36 layers of 3B, and of 32 of its tower: kernels differ by widths, and a checkpoint of all layers fills a disk.
LAYERS = 8


def shallow_policy(device: torch.device, folder: Path) -> Path:
    """Random weights of 3B's widths with the demo's tokenizer, as engines and runs take it; written once."""
    from learner.tiny_policy import build_tiny_policy

    path, unfinished = folder / "policy", folder / "policy.unfinished"
    if path.exists():
        return path
    build_tiny_policy(unfinished)
    demo = Qwen2_5_VLConfig.from_pretrained(unfinished, trust_remote_code=False)
    config = _shallow(medium_config()) if device.type == "cuda" else tiny_config()
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        setattr(config, name, getattr(demo, name))
    for name in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config.text_config, name, getattr(demo.text_config, name))
    for file in unfinished.glob("*.safetensors"):
        file.unlink()
    model = build_model(config, torch.bfloat16, device)
    model.generation_config.eos_token_id = demo.text_config.eos_token_id
    model.generation_config.pad_token_id = demo.text_config.pad_token_id
    model.save_pretrained(unfinished)
    return unfinished.rename(path)


def parity(second_runner: bool, device: torch.device, folder: Path) -> dict[str, str]:
    """Mean and largest exp|difference of log-probabilities| over all tokens of a few clips, greedy and sampled."""
    if device.type == "cuda":
        os.environ["VLLM_USE_V2_MODEL_RUNNER"] = str(int(second_runner))
    path = shallow_policy(device, folder)
    encoder = VideoEncoder(str(path), SamplingContract())
    rollouts, runner = asyncio.run(_sample(path, encoder, device))
    figures = {"vLLM's model runner": runner}
    for name, its in rollouts.items():
        gaps = _gaps(path, encoder, its, device)
        mean, largest = float(gaps.mean()), float(gaps.max())
        verdict = "" if mean <= MOST else f"NO, at most {MOST}: "
        figures[f"{name}: mean exp|difference|, largest"] = f"{verdict}{mean:.6f}, {largest:.6f}"
    return figures


async def _sample(
    path: Path, encoder: VideoEncoder, device: torch.device
) -> tuple[dict[str, list[Rollout]], str]:
    from actors.engine import EngineSettings
    from actors.rollout_worker import RolloutWorker

    on_gpu = device.type == "cuda"
    settings = EngineSettings(
        str(path), dtype="bfloat16" if on_gpu else "float32", use_gpu=on_gpu, gpu_memory_utilization=0.3
    )
    worker = RolloutWorker("parity", settings)
    await worker.start()
    try:
        assert worker._engine is not None
        runner = "V2" if worker._engine.vllm_config.use_v2_model_runner else "V1"
        found = {
            name: [
                await worker.generate(
                    _prompt(number), encoder.prompt_text(_prompt(number)), _clip(number), how
                )
                for number in range(len(SHAPES))
            ]
            for name, how in (("greedy", GREEDY), ("sampled", SAMPLED))
        }
    finally:
        await worker.shutdown()
    return found, runner


@torch.no_grad()
def _gaps(path: Path, encoder: VideoEncoder, rollouts: list[Rollout], device: torch.device) -> torch.Tensor:
    """[tokens], as the learner scores what was sampled."""
    from learner.forward import ResponseScorer, lay_out
    from learner.rows import Row

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    policy = Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=dtype, trust_remote_code=False)
    policy = policy.to(device).eval()
    scorer, gaps = ResponseScorer(policy, encoder.banned_token_ids), []
    for number, rollout in enumerate(rollouts):
        encoded = encoder.encode(rollout.prompt, _clip(number))
        rows = [Row(rollout.prompt.id, encoded, r.token_ids, r.logprobs, 0.0) for r in rollout.responses]
        batch = lay_out([rows], device)
        gaps.append((scorer(batch).logprobs - batch.rollout_logprobs).abs().exp())
    return torch.cat(gaps)


def _shallow(config: Qwen2_5_VLConfig) -> Qwen2_5_VLConfig:
    config = deepcopy(config)
    config.text_config.num_hidden_layers = config.vision_config.depth = LAYERS
    config.text_config.layer_types = config.text_config.layer_types[:LAYERS]
    config.vision_config.fullatt_block_indexes = [LAYERS - 1]
    return config


def _prompt(number: int) -> VideoPrompt:
    target = {"interval": [0, 1]}
    return VideoPrompt(f"p{number}", Task.TEMPORAL_GROUNDING, f"{number}.mp4", "a red circle", target, 4.0)


def _clip(number: int) -> Clip:
    """Random pixels."""
    frames, height, width, fps = SHAPES[number]
    pixels = np.random.default_rng(number).integers(0, 255, (frames, height, width, 3), dtype=np.uint8)
    times = tuple(frame / fps for frame in range(frames))
    return Clip(
        frames=pixels,
        frame_indices=tuple(range(frames)),
        frame_times=times,
        moments=times,
        duration=frames / fps,
        sampled_fps=fps,
        seconds_per_grid=SamplingContract().seconds_per_grid(fps),
        temporal_patch_size=2,
        digest=str(number),
    )
