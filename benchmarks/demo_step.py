"""What sharing prompts is worth to `make demo`: `python -m benchmarks.demo_step`.

One GRPO step of `configs/local.yaml` by a learner rank, with the demo's policy, optimizer, KL penalty and number of
groups, on synthetic clips: as the learner takes it, and with a prompt of its own for every response, as trainers that
know no groups have it. Nothing is sampled; all responses to a prompt are its demonstration.
"""

from __future__ import annotations

import random
import socket
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from benchmarks.unshared_demo import apart
from cluster.config import RunConfig
from cluster.config.loading import load_config
from cluster.inputs.prompts import contract_of, prompt_style_of
from cluster.runtime.system import learner_settings
from data.demonstrations import demonstrate
from data.encoding import VideoEncoder
from data.records import TrainSample
from data.rendering import render_scene
from data.synthetic import make_scene
from data.video import decode_clip
from learner.rank import LearnerRank
from learner.tiny_policy import build_tiny_policy


def make_samples(config: RunConfig, encoder: VideoEncoder, folder: Path) -> list[TrainSample]:
    """The responses of one step, group after group, the tasks in their shares."""
    contract, rng = contract_of(config), random.Random(0)
    tasks, weights = list(config.data.tasks), list(config.data.tasks.values())
    samples = []
    for seed, task in enumerate(rng.choices(tasks, weights, k=config.grpo.prompts_per_step)):
        scene, prompt = make_scene(task, seed, contract)
        path = folder / f"{seed}.mp4"
        render_scene(scene, path)
        clip = decode_clip(str(path), contract, prompt.box_frames)
        prompt = replace(prompt, video=str(path))
        tokens, response = (
            encoder.encode(prompt, clip).token_ids,
            encoder.response_ids(demonstrate(scene, prompt)),
        )
        samples += [
            TrainSample(prompt, tokens, response, clip, [-1.0] * len(response), rng.uniform(-1.0, 1.0))
            for _ in range(config.rollout.group_size)
        ]
    return samples


def seconds_of(rank: LearnerRank, samples: Sequence[TrainSample]) -> float:
    """Seconds of a step, without what the processor takes to encode prompts."""
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    seconds = rank.step(samples, tokens, len(samples), "grpo").seconds
    return sum(seconds.values()) - seconds["encode"]


def _start(config: RunConfig, policy: Path, threads: int) -> tuple[LearnerRank, VideoEncoder]:
    encoder = VideoEncoder(policy, contract_of(config), prompt_style_of(config))
    settings = learner_settings(config, config.grpo.steps, config.learner.learning_rate, config.grpo.kl_coef)
    rank = LearnerRank(replace(settings, cpu_threads=threads), str(policy), lambda: encoder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rank.start("127.0.0.1", port, 0, 1)
    return rank, encoder


def main(
    repeats: Annotated[int, typer.Option(help="Steps of each way; the median counts.")] = 5,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
) -> None:
    """Compare the demo's learner step with and without shared prompts."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        config = load_config("configs/local.yaml", [f"run.output_dir={folder}"])
        policy = build_tiny_policy(Path(folder) / "policy", contract=contract_of(config))
        rank, encoder = _start(config, policy, threads)
        shared = make_samples(config, encoder, Path(folder))
        rounds = [[seconds_of(rank, its) for its in (apart(shared), shared)] for _ in range(repeats + 1)]
    alone, together = (statistics.median(each) for each in zip(*rounds[1:], strict=True))
    Console().print(
        f"{len(shared)} responses: {alone:.2f} s with a prompt of its own for each, {together:.2f} s with shared "
        f"prompts: {alone / together:.2f} x faster, {alone - together:.2f} s less; in {config.grpo.steps} steps "
        f"{(alone - together) * config.grpo.steps:.0f} s"
    )


if __name__ == "__main__":
    typer.run(main)
