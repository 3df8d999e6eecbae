"""The supervised stage: on worked responses to synthetic clips, or on the annotated answers of any others.

It may stop as soon as a policy has the answer format. A policy that was never pretrained cannot see. It may first learn
that from think parts, which hold what a synthetic clip shows and do not yet answer where and when.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from cluster.config import RunConfig
from cluster.evaluation.greedy import Question, ask
from cluster.inputs.prompts import PromptSet
from cluster.progress.display import Progress
from cluster.records.eval_records import EvalSample
from cluster.records.metrics import PerStage, Stage, StepRecord, TaskRewards
from cluster.records.run_log import RunLog
from cluster.runtime.system import System, learner_settings
from cluster.training.demonstration_batches import DemonstrationBatches
from cluster.training.frontier import COLD_START_CHECKPOINTS, COLD_START_POLICY
from cluster.training.step_records import task_rewards_of
from data.demonstrations import demonstrate, introduce
from data.schema import VideoPrompt
from learner.report import StepReport


def cold_start(
    config: RunConfig,
    system: System,
    prompts: PromptSet,
    log: RunLog,
    progress: Progress,
    model_path: Path | str,
) -> Path:
    """Train on demonstrations until enough sampled answers parse; returns the absolute folder of the resulting policy.

    Only training clips are seen. The stage goes on from its newest checkpoint, where the run's folder holds one. The
    learner that GRPO uses is started anew from the policy, so that its optimizer carries nothing over, and the
    checkpoints of this stage go when the policy is there.
    """
    section = config.cold_start
    system.begin_learner(
        model_path, learner_settings(config, section.max_steps, section.learning_rate, kl_coef=0.0)
    )
    batches = DemonstrationBatches(config, system, prompts)
    probe = probe_prompts(prompts.train, section.probe_prompts, config.run.seed)
    learner, look = system.learner, None
    step = start = _load(config, system, batches, progress)
    progress.stage("cold start", total=section.max_steps, done=start)
    for step in range(start + 1, section.max_steps + 1):
        began = time.monotonic()
        answers = step - section.think_steps
        report = learner.step(batches.next(introduce if answers <= 0 else demonstrate), "sft")
        look = None
        if answers > 0 and answers % section.check_every == 0:
            look = _look(config, system, probe, step)
        record = _record(step, report, look, time.monotonic() - began)
        log.step(record)
        progress.step(record)
        if look and section.parse_target is not None and look.parsed >= section.parse_target:
            progress.say(
                f"cold start: {look.parsed:.1%} of sampled answers parse in every task after {step} steps"
            )
            break
        # Only of a stage that goes on: one that is resumed has not been told that it may end.
        if step % config.checkpoint.every_steps == 0:
            _save(config, system, batches)
    else:
        _say_unfinished(config, progress)
    if look is None:
        # The workers go on with the policy that this returns.
        system.sync(step)
    folder = (config.run_dir / COLD_START_POLICY).absolute()
    learner.export_hf(str(folder))
    shutil.rmtree(config.run_dir / COLD_START_CHECKPOINTS, ignore_errors=True)
    return folder


@dataclass(frozen=True)
class Look:
    """What sampled answers showed.

    Attributes:
        parsed: Share of the probe prompts whose answer parses, in the task where it is smallest.
        tasks: Mean rewards of the answers by task.
    """

    parsed: float
    tasks: dict[str, TaskRewards]
    sync_seconds: float
    rollout_seconds: float


def probe_prompts(train: Sequence[VideoPrompt], size: int, seed: int) -> list[VideoPrompt]:
    """Training prompts, the tasks in turn, whose sampled answers show whether the format is there."""
    shuffled = random.Random(seed).sample(list(train), len(train))
    by_task = [
        [prompt for prompt in shuffled if prompt.task == task] for task in sorted({p.task for p in train})
    ]
    rounds = zip(*(group[:size] for group in by_task), strict=False)
    return [prompt for group in rounds for prompt in group][:size]


def _save(config: RunConfig, system: System, batches: DemonstrationBatches) -> None:
    """Write a checkpoint of this stage to resume from."""
    folder = str((config.run_dir / COLD_START_CHECKPOINTS).absolute())
    system.learner.save_checkpoint(folder, batches.state_dict(), config.checkpoint.keep)


def _load(config: RunConfig, system: System, batches: DemonstrationBatches, progress: Progress) -> int:
    """Bring learner and batches to the stage's newest complete checkpoint; returns its step, 0 where there is none."""
    folder = str((config.run_dir / COLD_START_CHECKPOINTS).absolute())
    state, problems = system.learner.load_checkpoint(folder)
    for problem in problems:
        progress.warn(problem)
    if state is None:
        return 0
    batches.load_state_dict(state)
    return int(state["step"])


def _look(config: RunConfig, system: System, probe: Sequence[VideoPrompt], step: int) -> Look:
    """Sample answers with the current weights."""
    began = time.monotonic()
    system.sync(step)
    synced = time.monotonic()
    samples = ask(config, system, [Question(prompt, config.rollout.temperature, step) for prompt in probe])
    scores = [(str(sample.prompt.task), sample.score) for sample in samples if sample.score]
    return Look(
        parsed=least_parsed(samples),
        tasks=task_rewards_of(scores),
        sync_seconds=synced - began,
        rollout_seconds=time.monotonic() - synced,
    )


def least_parsed(samples: Sequence[EvalSample]) -> float:
    """The share of answers that parse, of the task where it is smallest; an easy task must not hide a hard one."""
    by_task: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        by_task[str(sample.prompt.task)].append(sample.score is not None and sample.score.parsed)
    return min(fmean(parsed) for parsed in by_task.values())


def _record(step: int, report: StepReport, look: Look | None, total_seconds: float) -> StepRecord:
    return StepRecord(
        step=step,
        stage=Stage.COLD_START,
        weight_version=step,
        tasks=look.tasks if look else {},
        loss=report.loss,
        entropy=report.entropy,
        grad_norm=report.grad_norm,
        learning_rate=report.learning_rate,
        seconds=PerStage(
            learn=sum(report.seconds.values()),
            sync=look.sync_seconds if look else None,
            rollout=look.rollout_seconds if look else None,
            total=total_seconds,
        ),
        tokens=PerStage(learn=report.tokens),
    )


def _say_unfinished(config: RunConfig, progress: Progress) -> None:
    section = config.cold_start
    if section.parse_target is not None:
        progress.warn(
            f"cold start ended at cold_start.max_steps = {section.max_steps} with less than "
            f"{section.parse_target:.0%} of sampled answers parsing"
        )
