"""Grading: every training prompt is answered a few times by one policy, and how well is written down.

What is graded stays graded: a later call with the same settings goes on with the prompts that have no line yet, and
tries those again that could not be used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actors.rollout_fleet import RolloutRequest, Submitted
from cluster.config import RunConfig
from cluster.errors import ConfigError
from cluster.grading.table import grade_table
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.grades import (
    GRADES_FILE,
    Grade,
    append_grades,
    changes,
    grade_of,
    read_grades,
    settings_of,
    write_grades,
)
from cluster.inputs.prompts import prepare_training
from cluster.progress.display import Progress, make_progress
from cluster.records.kept_settings import write_settings
from cluster.records.run_folder import held_folder
from cluster.runtime.sampling_system import sampling_system
from cluster.runtime.system import System
from data.records import SamplingSettings
from data.schema import VideoPrompt
from rewards.terminal import Terminal

# Prompts sampled at a time, while the clips of the next are decoded; also what is lost when grading is interrupted.
CHUNK = 32
# Wide enough for the table when the output is not a terminal.
PLAIN_WIDTH = 120


@dataclass(frozen=True)
class _Asked:
    """Prompts on their way; `submitted` has those that can be used, in order."""

    prompts: Sequence[VideoPrompt]
    problems: Sequence[str | None]
    submitted: Sequence[Submitted]


def grade_prompts(config: RunConfig) -> None:
    """Grade the training prompts of a configuration and print the table.

    Raises:
        ActorFailure, UserError: it could not go on.
    """
    with held_folder(config.run_dir):
        known = _graded_prompts(config)
    console = Terminal()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(grade_table(known))
    console.print(f"grades: {config.run_dir / GRADES_FILE}", soft_wrap=True)


def _graded_prompts(config: RunConfig) -> list[Grade]:
    """The grades of all training prompts, those made before among them."""
    known = claim(config)
    with make_progress(config.run.name) as progress, ClipFiles(progress.waiting) as files:
        prompts = prepare_training(config, progress, files).train
        if left := ungraded(prompts, known):
            with sampling_system(config, progress, files) as system:
                known += grade(config, system, left, len(prompts), progress)
                known = write_grades(config.run_dir / GRADES_FILE, known)
    wanted = {prompt.id for prompt in prompts}
    return [one for one in known if one.id in wanted]


def claim(config: RunConfig) -> list[Grade]:
    """Make the folder of the grades ours; returns the grades it holds already.

    Raises:
        ConfigError: they were made under other settings, all of which are listed.
    """
    folder = config.run_dir
    differing = changes(folder, config)
    if differing:
        listed = "\n".join(f"  - {change}" for change in differing)
        raise ConfigError(
            f"{folder} holds grades made under other settings:\n{listed}\n"
            "Grade with those, or give this grading another run.name."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, settings_of(config))
    path = folder / GRADES_FILE
    try:
        return read_grades(path) if path.exists() else []
    except ValueError as error:
        raise ConfigError(f"{path} holds a line that is no grade; delete it: {error}") from error


def ungraded(prompts: Sequence[VideoPrompt], known: Sequence[Grade]) -> list[VideoPrompt]:
    """The prompts that no grade is known of, and those that could not be used."""
    graded = {one.id for one in known if one.n}
    return [prompt for prompt in prompts if prompt.id not in graded]


def grade(
    config: RunConfig, system: System, prompts: Sequence[VideoPrompt], total: int, progress: Progress
) -> list[Grade]:
    """Grade prompts a chunk after the other, each written when it is done.

    Args:
        prompts: Those that are left.
        total: How many there are with those graded before, for the display.
    """
    before = total - len(prompts)
    progress.stage("grading", total=total, done=before)
    found: list[Grade] = []
    for grades in _graded(config, system, prompts):
        append_grades(config.run_dir / GRADES_FILE, grades)
        found += grades
        progress.advance(before + len(found))
    return found


def _graded(config: RunConfig, system: System, prompts: Sequence[VideoPrompt]) -> Iterator[list[Grade]]:
    """Chunk by chunk; the workers sample one while the next is submitted."""
    before: _Asked | None = None
    for first in range(0, len(prompts), CHUNK):
        asked = _ask(config, system, prompts[first : first + CHUNK])
        if before:
            yield _judge(system, before)
        before = asked
    if before:
        yield _judge(system, before)


def _ask(config: RunConfig, system: System, prompts: Sequence[VideoPrompt]) -> _Asked:
    clips = system.clips.request(prompts)
    requests = [
        RolloutRequest(prompt, system.encoder.prompt_text(prompt), clip, _sampling(config, prompt))
        for prompt, clip in zip(prompts, clips, strict=True)
        if clip is not None
    ]
    problems = [
        None if clip is not None else system.clips.problem(prompt)
        for prompt, clip in zip(prompts, clips, strict=True)
    ]
    return _Asked(prompts, problems, system.submit(requests, together=False))


def _judge(system: System, asked: _Asked) -> list[Grade]:
    rollouts = system.fleet.gather(asked.submitted)
    scores = iter(system.rewards.score(rollouts))
    return [
        grade_of(prompt, next(scores))
        if problem is None
        else Grade(id=prompt.id, task=str(prompt.task), n=0, problem=problem)
        for prompt, problem in zip(asked.prompts, asked.problems, strict=True)
    ]


def _sampling(config: RunConfig, prompt: VideoPrompt) -> SamplingSettings:
    """As in training, but seeded by the prompt itself: its grade does not depend on what else is graded."""
    digest = hashlib.sha256(f"{config.run.seed}/{prompt.id}".encode()).digest()
    return SamplingSettings(
        group_size=config.rollout.group_size,
        temperature=config.rollout.temperature,
        max_tokens=config.rollout.max_response_tokens,
        seed=int.from_bytes(digest[:6]),
    )
