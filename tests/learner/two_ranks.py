"""Runs a function in two processes that form one learner, and hands back what they return."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch

from learner.batching import RowSize, shard_groups
from learner.rank import LearnerRank
from learner.report import StepReport
from learner.settings import LearnerSettings
from tests.learner.compare import weights_of
from tests.learner.tiny import RandomEncoder, make_samples

NUM_RANKS = 2
Results = list[Any]


def run(function: Callable[..., Any], port: int, *arguments: Any, timeout: float = 150.0) -> Results:
    """Call `function(rank, port, *arguments)` in two fresh processes; raises what any of them raised."""
    context = multiprocessing.get_context("spawn")
    answers: Queue[tuple[int, Any]] = context.Queue()
    processes = [
        context.Process(target=_answer, args=(answers, function, rank, port, *arguments), daemon=True)
        for rank in range(NUM_RANKS)
    ]
    for process in processes:
        process.start()
    found: dict[int, Any] = {}
    try:
        while len(found) < NUM_RANKS:
            rank, answer = answers.get(timeout=timeout)
            if isinstance(answer, str):
                raise RuntimeError(f"rank {rank}: {answer}")
            found[rank] = answer
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [found[rank] for rank in range(NUM_RANKS)]


def _answer(
    answers: Queue[tuple[int, Any]], function: Callable[..., Any], rank: int, port: int, *rest: Any
) -> None:
    os.environ["DS_ACCELERATOR"] = "cpu"
    torch.set_num_threads(1)
    try:
        answers.put((rank, function(rank, port, *rest)))
    except Exception as error:
        answers.put((rank, f"{type(error).__name__}: {error}"))


def everything(
    rank: int, port: int, folder: Path, exportable: Path, target: Path, each: dict[int, dict[str, Any]]
) -> tuple[dict[int, Any], dict[int, Any]]:
    """All that the tests look at, in one start of the processes.

    Returns:
        By ZeRO stage: reports and whole weights of two steps on uneven shares; and what `save_and_resume`
            gives.
    """
    steps = {stage: two_steps(rank, port, folder, settings) for stage, settings in each.items()}
    resumes = {
        stage: save_and_resume(rank, port, folder, each[stage], target / f"checkpoints-{stage}")
        for stage in (1, 3)
    }
    start(rank, port, exportable, each[3]).export_hf(str(target / "export"))
    return steps, resumes


def two_steps(
    rank: int, port: int, folder: Path, settings: dict[str, Any]
) -> tuple[list[StepReport], dict[str, Any]]:
    """Reports, and weights as lists."""
    learner = start(rank, port, folder, settings)
    reports = [step(learner, rank, seed, kind) for seed, kind in enumerate(["grpo", "sft"])]
    return reports, {name: tensor.tolist() for name, tensor in weights_of(learner).items()}


def save_and_resume(rank: int, port: int, folder: Path, settings: dict[str, Any], checkpoints: Path) -> Any:
    """The state found, and checksums of a run straight through and of one resumed in the middle."""
    learner = start(rank, port, folder, settings)
    step(learner, rank, 0, "sft")
    learner.save_checkpoint(str(checkpoints), {"step": 1})
    step(learner, rank, 1, "sft")
    resumed = start(rank, port, folder, settings)
    state, _ = resumed.load_checkpoint(str(checkpoints))
    step(resumed, rank, 1, "sft")
    return state, learner.weight_checksums(), resumed.weight_checksums()


def start(rank: int, port: int, folder: Path, settings: dict[str, Any]) -> LearnerRank:
    every = LearnerSettings(cpu_threads=1, **settings)
    learner = LearnerRank(every, str(folder), RandomEncoder)  # type: ignore[arg-type]
    learner.start("127.0.0.1", port, rank, NUM_RANKS)
    return learner


def step(learner: LearnerRank, rank: int, seed: int, kind: str) -> StepReport:
    """One step on this rank's share of three groups: one rank runs more passes than the other."""
    samples = make_samples(3, 3, seed)
    sizes = [RowSize(s.prompt.id, len(s.prompt_token_ids), len(s.response_token_ids)) for s in samples]
    mine = [samples[row] for row in shard_groups(sizes, NUM_RANKS)[rank]]
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    return learner.step(mine, tokens, len(samples), kind)  # type: ignore[arg-type]
