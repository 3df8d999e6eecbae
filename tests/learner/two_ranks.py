"""Runs a function in two processes that form one learner, and hands back what they return.

`gradients` is for one rank as well, in whatever process.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.utils import safe_get_full_grad

from data.records import TrainSample
from learner import rank as rank_module
from learner.batching import RowSize
from learner.engine import build_reference
from learner.rank import LearnerRank
from learner.recipes import RECIPES
from learner.report import StepReport
from learner.settings import LearnerSettings
from learner.sharding import shard_groups
from tests.learner.compare import weights_of
from tests.learner.partitioned import partition_everything
from tests.learner.tiny import RandomEncoder, make_samples

NUM_RANKS = 2
KL = 0.1
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
    rank_module.deepspeed_config = partition_everything
    try:
        answers.put((rank, function(rank, port, *rest)))
    except Exception as error:
        answers.put((rank, f"{type(error).__name__}: {error}"))


def everything(
    rank: int,
    port: int,
    folder: Path,
    moved: Path,
    exportable: Path,
    target: Path,
    each: dict[int, dict[str, Any]],
) -> tuple[dict[int, Any], dict[int, Any], dict[int, Any]]:
    """All that the tests look at, in one start of the processes.

    Returns:
        By ZeRO stage: reports and whole weights of two steps on uneven shares; what `save_and_resume` gives; and
            losses by objective, see `gradients`.
    """
    steps = {stage: two_steps(rank, port, folder, settings) for stage, settings in each.items()}
    resumes = {
        stage: save_and_resume(rank, port, folder, each[stage], target / f"checkpoints-{stage}")
        for stage in (1, 3)
    }
    start(rank, port, exportable, each[3]).export_hf(str(target / "export"))
    losses = {stage: gradients(rank, port, folder, moved, stage, target, NUM_RANKS) for stage in each}
    one_rank_without_a_clip(rank, port, folder)
    one_rank_with_a_broken_loss(rank, port, folder)
    return steps, resumes, losses


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


def gradients(
    rank: int, port: int, folder: Path, moved: Path, stage: int, target: Path, ranks: int
) -> dict[str, float]:
    """Write the whole gradient of every objective to `gradients_file`; nothing is learned.

    Args:
        moved: The reference policy, other than the policy so that the KL penalty has a gradient.

    Returns:
        This rank's share of the loss of each objective.
    """
    found: dict[str, dict[str, Any]] = {}
    losses: dict[str, float] = {}
    still = {"zero_stage": stage, "learning_rate": 0.0, "max_grad_norm": 0.0, "kl_coef": KL}
    learner = start(rank, port, folder, still, ranks, reference=moved)
    runner = learner._runner
    update = runner._update

    def collect(*arguments: Any) -> StepReport:
        found[name] = {
            key: safe_get_full_grad(parameter).clone() for key, parameter in learner.policy.named_parameters()
        }
        return update(*arguments)

    runner._update = collect  # type: ignore[method-assign]
    for name in RECIPES:
        runner._settings = replace(objective_settings(name), **still)
        losses[name] = step_on(learner, rank, uneven_samples(), "grpo", ranks).loss
    if rank == 0:
        torch.save(found, gradients_file(target, stage, ranks))
    return losses


def gradients_file(target: Path, stage: int, ranks: int) -> Path:
    return target / f"gradients-{stage}-{ranks}.pt"


def objective_settings(name: str) -> LearnerSettings:
    """An objective in its paper's version with a KL penalty, through several micro-batches."""
    plain = LearnerSettings(longest_response=9, importance_cap=1e6, micro_batch_tokens=40, kl_coef=KL)
    return plain.pursuing(RECIPES[name])


def one_rank_without_a_clip(rank: int, port: int, folder: Path) -> None:
    """Under ZeRO-3 a rank whose rows are text alone must not leave the other waiting for its vision tower."""
    learner = start(rank, port, folder, {"zero_stage": 3})
    samples = make_samples(1, 2, 3)
    if rank == 1:
        encoded = RandomEncoder().encode(samples[0].prompt, None)
        samples = [replace(sample, clip=None, prompt_token_ids=encoded.token_ids) for sample in samples]
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    assert math.isfinite(learner.step(samples, 2 * tokens, 4, "grpo").grad_norm)


def one_rank_with_a_broken_loss(rank: int, port: int, folder: Path) -> None:
    """Both refuse the step: the other would wait for this one in its update, or update alone."""
    learner = start(rank, port, folder, {"zero_stage": 2})
    before = weights_of(learner)
    samples = make_samples(1, 2, 3)
    if rank == 1:
        samples = [replace(sample, advantage=math.nan) for sample in samples]
    with pytest.raises(FloatingPointError, match="optimizer step 1 is not finite"):
        learner.step(samples, 4, 4, "grpo")
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights_of(learner).items())


def start(
    rank: int,
    port: int,
    folder: Path,
    settings: dict[str, Any],
    ranks: int = NUM_RANKS,
    reference: Path | None = None,
) -> LearnerRank:
    every = LearnerSettings(cpu_threads=1, **settings)
    learner = LearnerRank(every, str(folder), RandomEncoder)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        if reference is not None:
            patch.setattr(
                rank_module, "build_reference", lambda _, *rest: build_reference(str(reference), *rest)
            )
        learner.start("127.0.0.1", port, rank, ranks)
    return learner


def step(learner: LearnerRank, rank: int, seed: int, kind: str, ranks: int = NUM_RANKS) -> StepReport:
    """One step on this rank's share of three groups: of two ranks one runs more passes than the other."""
    return step_on(learner, rank, make_samples(3, 3, seed), kind, ranks)


def uneven_samples() -> list[TrainSample]:
    """A group of one, a whole one and one that lost a member; the second has no clip."""
    first, whole, third = (make_samples(3, 3, 7)[start : start + 3] for start in (0, 3, 6))
    text = RandomEncoder().encode(whole[0].prompt, None).token_ids
    return [*first[:1], *[replace(one, clip=None, prompt_token_ids=text) for one in whole], *third[1:]]


def step_on(
    learner: LearnerRank, rank: int, samples: Sequence[TrainSample], kind: str, ranks: int
) -> StepReport:
    """One step on this rank's share of a batch."""
    sizes = [RowSize(s.prompt.id, len(s.prompt_token_ids), len(s.response_token_ids)) for s in samples]
    mine = [samples[row] for row in shard_groups(sizes, ranks)[rank]]
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    return learner.step(mine, tokens, len(samples), kind)  # type: ignore[arg-type]
