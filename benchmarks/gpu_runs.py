"""Whole runs on GPUs: both sides start, the first sync is audited, log-probabilities agree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parity import MOST, shallow_policy

NAME = "check"
# Of the configuration that is tried, by the GPUs that it takes.
CONFIGS = {1: "configs/qwen2_5_vl_3b_1gpu.yaml", 2: "configs/local.yaml"}
COMMON = (
    *(f"run.name={NAME}", "logging.wandb_mode=disabled", "logging.ray_metrics=false"),
    *("data.num_prompts=32", "data.eval_prompts_per_task=2", "grpo.prompts_per_step=4"),
    *("grpo.steps=4", "grpo.mismatch_bound=10"),
)
# The demo's policy begins from demonstrations.
COLD_START = ("max_steps=2", "think_steps=0", "check_every=2", "probe_prompts=4", "batch_size=4")
TASKS = ("temporal_grounding", "tracking", "grounded_qa")
# Its own data is not there, and what random weights write earns nothing: nothing would be learned or sent.
SYNTHETIC = (
    *("data.source=synthetic", "data.eval_source=synthetic", "data.datasets=[]", "data.eval_datasets=[]"),
    *("data.template=thinking", "rollout.max_response_tokens=128", "learner.feature_cache_gib=1"),
    f"reward.custom={json.dumps(dict.fromkeys(TASKS, 'benchmarks.gpu_runs.share_of_low_letters'))}",
)
WITHOUT_GPUS = (
    *("model.dtype=float32", "rollout.gpus_per_worker=0", "learner.gpus_per_worker=0", "data.cache_gib=0.1"),
    *("data.num_loaders=1", "data.cpus_per_loader=0.1", "rollout.cpus_per_worker=0.4"),
    *("learner.cpus_per_worker=0.4", "learner.zero_stage=1", "learner.offload_optimizer=false"),
    *("reward.num_workers=1", "reward.cpus_per_worker=0.1", "ray.num_cpus=2"),
)


def run_arguments(gpus: int, device: torch.device, folder: Path) -> list[str]:
    """A few steps. On one GPU that configuration with a shallow policy; on two the demo, whose weights go by NCCL."""
    arguments = [*COMMON, f"run.output_dir={folder}"]
    if gpus == 1:
        arguments += [f"model.path={shallow_policy(device, folder)}", *SYNTHETIC]
    else:
        arguments += [f"cold_start.{setting}" for setting in COLD_START]
        if device.type == "cuda":
            arguments += ["model.dtype=bfloat16", "rollout.gpu_memory_utilization=0.3"]
            arguments += ["rollout.gpus_per_worker=1", "learner.gpus_per_worker=1"]
    return [*arguments, *WITHOUT_GPUS] if device.type == "cpu" else arguments


def share_of_low_letters(
    task: str, response: str, target: Mapping[str, Any], duration: float | None
) -> float:
    """A reward that responses of random weights differ in."""
    letters = [letter for letter in response.lower() if letter.isalpha()]
    return sum(letter < "n" for letter in letters) / max(1, len(letters))


def whole_run(gpus: int, device: torch.device, folder: Path) -> dict[str, str]:
    """The largest mismatch of four steps, and seconds of the last one.

    Raises:
        RuntimeError: the run did not end well; with the end of what it printed.
    """
    command = [sys.executable, "-m", "cluster.launch", "--config", CONFIGS[gpus]]
    finished = subprocess.run(
        [*command, *run_arguments(gpus, device, folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if finished.returncode:
        raise RuntimeError("\n".join(finished.stdout.splitlines()[-25:]))
    steps = [json.loads(line) for line in (folder / NAME / "metrics.jsonl").read_text().splitlines()]
    mismatches = [step["mismatch"] for step in steps if step.get("mismatch") is not None]
    if len(mismatches) < len(steps):
        raise RuntimeError(f"only {len(mismatches)} of {len(steps)} steps learned something")
    largest, last = max(mismatches), steps[-1]["seconds"]
    return {
        "mean exp|difference of log-probabilities|, largest of 4 steps": f"{largest:.4f}"
        if largest <= MOST
        else f"NO, at most {MOST}: {largest:.4f}",
        "sync": f"{last['sync']:.2f} s",
        "step": f"{last['total']:.2f} s",
    }
