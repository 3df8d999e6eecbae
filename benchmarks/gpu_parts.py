"""The parts of `benchmarks.gpu_check`: what can only be seen on a GPU, each in a process of its own.

A part gets the device and a folder for files, and returns figures by name, with their units. On CPU all of them run the
same code at sizes that say nothing of a GPU. A figure that begins with `NO` is not as it must be.
"""

from __future__ import annotations

import functools
import random
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parity import parity
from benchmarks.gpu_runs import whole_run
from benchmarks.gpu_transfer import through_host, through_ipc
from benchmarks.learner_comparison import compare
from benchmarks.learner_flops import H200_FLOPS
from benchmarks.learner_setting import (
    Policy,
    Sizes,
    build_model,
    large_config,
    make_rows,
    medium_config,
    small_config,
    tiny_config,
)
from benchmarks.learner_ways import IN_TURN, SHARED

GIB = 2**30
LAYOUTS, MOST_COMPILATIONS = 40, 6
# Of bfloat16 beside float32: numbers there have 8 bits.
MOST_ERROR = 0.02
# That of the configuration for one GPU, tokens.
MICRO_BATCH = 9216
TINY_SIZES = Sizes(160, 5, 3)
Figures = dict[str, str]


@dataclass(frozen=True)
class Part:
    """One row of the table.

    Attributes:
        deadline_s: Longest it may take, seconds.
        gpus: GPUs that it needs.
    """

    deadline_s: float
    figures: Callable[[torch.device, Path], Figures]
    gpus: int = 1


def shared_prefix(device: torch.device, folder: Path) -> Figures:
    """Attention by blocks against masked softmax in float32: 28 query and 4 key heads of 128, uneven layouts."""
    from torch._dynamo.utils import counters

    from learner.block_attention import attend_by_blocks
    from learner.shared_prefix import PackLayout

    on_gpu, rng, worst = device.type == "cuda", random.Random(0), 0.0
    heads, key_heads, width = (28, 4, 128) if on_gpu else (4, 2, 16)
    for _ in range(LAYOUTS if on_gpu else 2):
        prompts = tuple(rng.randrange(1, 700) | 1 for _ in range(rng.randint(1, 2)))
        layout = PackLayout(prompts, tuple(tuple(rng.randint(1, 90) for _ in range(8)) for _ in prompts))
        shapes = [(1, count, layout.tokens, width) for count in (heads, key_heads, key_heads)]
        whole = [torch.randn(shape, device=device, requires_grad=on_gpu) for shape in shapes]
        kind = torch.bfloat16 if on_gpu else torch.float32
        halves = [tensor.detach().to(kind).requires_grad_(on_gpu) for tensor in whole]
        found = attend_by_blocks(*halves, layout, width**-0.5)
        wanted = _masked_softmax(*whole, layout)
        pairs = [(found, wanted)]
        if on_gpu:
            # On CPU FlexAttention has no backward pass, and the learner attends otherwise there.
            found.float().square().sum().backward()
            wanted.square().sum().backward()
            pairs += [(mine.grad, its.grad) for mine, its in zip(halves, whole, strict=True)]
        worst = max(worst, *(float((mine.float() - its).norm() / its.norm()) for mine, its in pairs))
    compilations = counters["stats"]["unique_graphs"]
    return {
        "worst relative error of outputs and gradients": f"{'' if worst <= MOST_ERROR else 'NO: '}{worst:.1e}",
        "compilations (at most 6)": f"{'' if compilations <= MOST_COMPILATIONS else 'NO: '}{compilations}",
    }


def learner_step(prompt_tokens: int, device: torch.device, folder: Path) -> Figures:
    """The shared prefix at the 7B geometry, recomputing, against rows in turn."""
    on_gpu = device.type == "cuda"
    config, dtype = (large_config(), torch.bfloat16) if on_gpu else (tiny_config(), torch.float32)
    sizes = Sizes(prompt_tokens, 256, 8) if on_gpu else TINY_SIZES
    policy = Policy(config, dtype, device, checkpointing=True)
    found = compare(policy, sizes, 2, [IN_TURN, SHARED], H200_FLOPS if on_gpu else None, memory=on_gpu)
    error = found.gradient_relative_error
    figures = {"gradient error": f"{error:.1e}" if error is not None else "-"}
    for name, way in found.ways.items():
        figures[name] = f"{way.seconds:.2f} s, {way.peak_bytes / GIB:.1f} GiB"
        if on_gpu:
            figures[name] += f", MFU of an H200 {found.mfu(name):.1%}"
    return figures | dict.fromkeys(found.without_memory, "out of memory")


def learner_rank(stage: int, offload: bool, fused: bool, device: torch.device, folder: Path) -> Figures:
    """One rank at the 3B geometry: seconds and peaks of a step, beside what is planned."""
    from learner import engine

    on_gpu = device.type == "cuda"
    sizes = Sizes(MICRO_BATCH - 8 * 256, 256, 8) if on_gpu else TINY_SIZES
    config = medium_config() if on_gpu else tiny_config()
    path = _checkpoint(config, device, folder / "checkpoint")
    if not fused:
        engine.torch.optim.AdamW = functools.partial(_unfused, torch.optim.AdamW)  # type: ignore[misc,assignment]
    _, step = _rank(path, make_rows(config, sizes), zero_stage=stage, offload_optimizer=offload)
    seconds = [step() for _ in range(3)]
    return {
        "step": f"{min(seconds):.2f} s",
        "GPU peak": f"{torch.cuda.max_memory_allocated() / GIB:.1f} GiB" if on_gpu else "-",
        "host peak": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB:.1f} GiB",
        "planned": _planned(path, stage, offload),
    }


def resuming(device: torch.device, folder: Path) -> Figures:
    """Whether the optimizer's state is read back as it was written; small, as a checkpoint of 3B fills a disk."""
    config = small_config() if device.type == "cuda" else tiny_config()
    path = _checkpoint(config, device, folder / "small")
    built, step = _rank(path, make_rows(config, TINY_SIZES), zero_stage=2)
    step()
    written = _optimizer_state(built)
    built.save_checkpoint(str(folder / "resumable"), tag="last")
    step()
    moved = _optimizer_state(built)
    built.load_checkpoint(str(folder / "resumable"), tag="last")
    found = _optimizer_state(built)
    step()
    same = [len(found) == len(written), *map(torch.equal, found, written)]
    moves = sum(not torch.equal(*pair) for pair in zip(moved, written, strict=True))
    return {
        "state as it was written": "yes" if all(same) else "NO",
        "tensors of it that a step moves": f"{moves}",
    }


def moving_weights(device: torch.device, folder: Path) -> Figures:
    """7.5 GB from one process to another on the same GPU, through the host by gloo and by CUDA's handles."""
    size = 7_500_000_000 if device.type == "cuda" else 1_000_000
    ways = {"gloo through the host": through_host, "handles of the memory (IPC)": through_ipc}
    return {name: f"{way(size, device):.2f} s" for name, way in ways.items()}


PARTS: dict[str, Part] = {
    "shared prefix": Part(90, shared_prefix),
    "step at 7B, P = 4,096": Part(90, functools.partial(learner_step, 4096)),
    "step at 7B, P = 8,192": Part(100, functools.partial(learner_step, 8192)),
    "rank at 3B, ZeRO-2": Part(90, functools.partial(learner_rank, 2, False, True)),
    "rank at 3B, ZeRO-2, AdamW not fused": Part(60, functools.partial(learner_rank, 2, False, False)),
    "rank at 3B, ZeRO-2, offload": Part(120, functools.partial(learner_rank, 2, True, True)),
    "rank at 3B, ZeRO-3": Part(60, functools.partial(learner_rank, 3, False, True)),
    "resuming, AdamW fused": Part(60, resuming),
    "weights between processes": Part(60, moving_weights),
    "parity on Model Runner V2": Part(100, functools.partial(parity, True)),
    "parity on Model Runner V1": Part(100, functools.partial(parity, False)),
    "configuration for one GPU, audited sync": Part(240, functools.partial(whole_run, 1)),
    "run on two GPUs, audited NCCL sync": Part(240, functools.partial(whole_run, 2), gpus=2),
}


def _masked_softmax(query: Tensor, key: Tensor, value: Tensor, layout: Any) -> Tensor:
    """Attention in float32 with all pairs of tokens written down."""
    begin, end, own = layout.bounds(query.device)
    place = torch.arange(layout.tokens, device=query.device)
    in_prompt = (place >= begin[:, None]) & (place < end[:, None])
    seen = in_prompt | ((place >= own[:, None]) & (place <= place[:, None]))
    key, value = (tensor.repeat_interleave(query.shape[1] // tensor.shape[1], 1) for tensor in (key, value))
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value


def _rank(path: Path, rows: list[Any], **settings: Any) -> tuple[Any, Callable[[], float]]:
    """DeepSpeed's engine of a rank that is alone, and its step, which returns the seconds it took."""
    from data.interfaces import free_port
    from learner import engine
    from learner.deepspeed_config import deepspeed_config
    from learner.report import Stopwatch
    from learner.runner import BatchRunner
    from learner.settings import LearnerSettings

    every = LearnerSettings(
        dtype="bfloat16", gradient_checkpointing=True, micro_batch_tokens=MICRO_BATCH, **settings
    )
    engine.join_process_group("127.0.0.1", free_port("127.0.0.1"), 0, 1, every.timeout)
    built = engine.build_engine(str(path), every, deepspeed_config(every, 1))
    runner = BatchRunner(built, None, every)
    tokens = sum(len(row.response) for row in rows)

    def step() -> float:
        began = time.perf_counter()
        runner.step(rows, tokens, len(rows), "grpo", Stopwatch())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - began

    return built, step


def _optimizer_state(built: Any) -> list[Tensor]:
    """Copies of ZeRO's float32 weights, and of what AdamW keeps of each."""
    kept = [value for state in built.optimizer.optimizer.state.values() for value in state.values()]
    every = [*built.optimizer.single_partition_of_fp32_groups, *kept]
    return [value.detach().cpu().clone() for value in every if isinstance(value, Tensor)]


def _checkpoint(config: Any, device: torch.device, path: Path) -> Path:
    """Random weights of the geometry on disk; written by the first part that asks."""
    if not path.exists():
        unfinished = path.with_suffix(".unfinished")
        build_model(config, torch.bfloat16, device).save_pretrained(unfinished)
        unfinished.rename(path)
    return path


def _planned(path: Path, stage: int, offload: bool) -> str:
    from cluster.config.loading import load_config
    from cluster.planning.memory_plan import memory_plan
    from cluster.planning.model_geometry import find_geometry

    geometry = find_geometry(str(path))
    assert geometry is not None
    overrides = [
        f"model.path={path}",
        f"learner.zero_stage={stage}",
        f"learner.offload_optimizer={str(offload).lower()}",
        f"learner.micro_batch_tokens={MICRO_BATCH}",
        *("learner.gpus_per_worker=1", "learner.freeze_vision=false", "learner.feature_cache_gib=0"),
    ]
    plan = memory_plan(load_config(Path("configs/qwen2_5_vl_3b_1gpu.yaml"), overrides), geometry)
    parts = [part for part in plan if part.process == "learner rank"]
    return ", ".join(f"{part.where} {part.total_gib:.1f} GiB" for part in parts)


def _unfused(adamw: Any, *arguments: Any, **named: Any) -> Any:
    return adamw(*arguments, **(named | {"fused": False, "foreach": True}))
