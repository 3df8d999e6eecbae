"""Whole runs of the demo's policy on GPUs: both sides start, the first sync is audited, log-probabilities agree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

NAME = "check"


def run_arguments(gpus: int, device: torch.device, folder: Path) -> list[str]:
    """A few steps; on two GPUs each side has one and weights go by NCCL, on one they share it."""
    small = [
        *(f"run.name={NAME}", f"run.output_dir={folder}", "logging.wandb_mode=disabled"),
        *("logging.ray_metrics=false", "data.num_prompts=32", "data.eval_prompts_per_task=2"),
        *("cold_start.max_steps=2", "cold_start.think_steps=0", "cold_start.check_every=2"),
        *("cold_start.probe_prompts=4", "cold_start.batch_size=4", "grpo.prompts_per_step=4"),
        *("grpo.steps=4", "grpo.mismatch_bound=10"),
    ]
    if device.type == "cpu":
        return small
    share = 1.0 if gpus == 2 else 0.45
    return [
        *small,
        *("model.dtype=bfloat16", "rollout.gpu_memory_utilization=0.3"),
        *(f"rollout.gpus_per_worker={share}", f"learner.gpus_per_worker={share}"),
    ]


def whole_run(gpus: int, device: torch.device, folder: Path) -> dict[str, str]:
    """The largest mismatch of four steps, and seconds of the last one.

    Raises:
        RuntimeError: the run did not end well; with the end of what it printed.
    """
    command = [sys.executable, "-m", "cluster.launch", "--config", "configs/local.yaml"]
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
    last = steps[-1]["seconds"]
    return {
        "mean exp|difference of log-probabilities|, largest": f"{max(mismatches):.4f}" if mismatches else "-",
        "sync": f"{last['sync']:.2f} s",
        "step": f"{last['total']:.2f} s",
    }
