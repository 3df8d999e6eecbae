"""The supervised stage: on worked responses to synthetic clips, or on the annotated answers of any others.

It may stop as soon as a policy has the answer format. A policy that was never pretrained cannot see. It may first learn
that from think parts, which hold what a synthetic clip shows and do not yet answer where and when.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from cluster.config import RunConfig
from cluster.evaluation.greedy import Question, ask
from cluster.inputs.clips import take_usable
from cluster.inputs.prompt_mix import PromptMix
from cluster.inputs.prompts import PromptSet, prompt_style_of
from cluster.progress.display import Progress
from cluster.records.eval_records import EvalSample
from cluster.records.metrics import PerStage, Stage, StepRecord, TaskRewards
from cluster.records.run_log import RunLog
from cluster.runtime.system import System, learner_settings
from cluster.training.frontier import COLD_START_POLICY
from cluster.training.step_records import task_rewards_of
from data.demonstrations import answer, demonstrate, introduce
from data.records import TrainSample
from data.schema import VideoPrompt
from data.synthetic import Scene
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

    Only training clips are seen. The learner that GRPO uses is started anew from the folder, so that its optimizer
    carries nothing over.
    """
    section = config.cold_start
    system.begin_learner(
        model_path, learner_settings(config, section.max_steps, section.learning_rate, kl_coef=0.0)
    )
    batches = DemonstrationBatches(config, system, prompts)
    probe = probe_prompts(prompts.train, section.probe_prompts, config.run.seed)
    learner = system.learner
    progress.stage("cold start", total=section.max_steps)
    for step in range(1, section.max_steps + 1):
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
    else:
        _say_unfinished(config, progress)
    if look is None:
        # The workers go on with the policy that this returns.
        system.sync(step)
    folder = (config.run_dir / COLD_START_POLICY).absolute()
    learner.export_hf(str(folder))
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


class DemonstrationBatches:
    """Batches of demonstrations, drawn as GRPO draws its prompts."""

    def __init__(self, config: RunConfig, system: System, prompts: PromptSet) -> None:
        self._system, self._scenes = system, prompts.scenes
        self._style = prompt_style_of(config)
        self._mix = PromptMix(prompts.mix, config.run.seed, config.data.batches == "by_task")
        self._size, self._prefetch = config.cold_start.batch_size, config.data.prefetch
        self._step = 0

    def next(self, write: Callable[[Scene, VideoPrompt], str]) -> list[TrainSample]:
        """The next batch; prompts that cannot be used are passed over.

        Args:
            write: The response to a scene's prompt; one without a scene is given its annotated answer.
        """
        self._step += 1
        clips = self._system.clips
        clips.prefetch(self._coming())
        found = take_usable(partial(self._mix.draw, self._step), clips, self._size, self._mix.size)
        return [self._sample(one.prompt, clip, write) for one, clip in found if clip is not None]

    def _sample(
        self, prompt: VideoPrompt, clip: Any, write: Callable[[Scene, VideoPrompt], str]
    ) -> TrainSample:
        """With the prompt's tokens, by which ranks share the work."""
        encoder, clips = self._system.encoder, self._system.clips
        prompt_ids = encoder.prompt_ids(prompt, clips.tokens(prompt))
        return TrainSample(prompt, prompt_ids, encoder.response_ids(self._response(prompt, write)), clip)

    def _response(self, prompt: VideoPrompt, write: Callable[[Scene, VideoPrompt], str]) -> str:
        scene = self._scenes.get(prompt.id)
        return answer(prompt, self._style) if scene is None else write(scene, prompt)

    def _coming(self) -> list[VideoPrompt]:
        """The prompts of this step and of those decoded ahead."""
        before = self._mix.state_dict()
        steps = range(self._step, self._step + 1 + self._prefetch)
        drawn = [draw.prompt for step in steps for draw in self._mix.draw(step, self._size)]
        self._mix.load_state_dict(before)
        return drawn


def probe_prompts(train: Sequence[VideoPrompt], size: int, seed: int) -> list[VideoPrompt]:
    """Training prompts, the tasks in turn, whose sampled answers show whether the format is there."""
    shuffled = random.Random(seed).sample(list(train), len(train))
    by_task = [
        [prompt for prompt in shuffled if prompt.task == task] for task in sorted({p.task for p in train})
    ]
    rounds = zip(*(group[:size] for group in by_task), strict=False)
    return [prompt for group in rounds for prompt in group][:size]


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
