"""One run from start to end: its folder, its prompts, Ray, the stages, the report."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.config.stored import CONFIG_FILE, check_resumable, write_config
from cluster.errors import ConfigError
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.prompts import prepare_prompts
from cluster.progress.display import Progress, make_progress
from cluster.records.metric_sinks import RayMetricsSink, Sink, WandbSink
from cluster.records.metrics import Stage
from cluster.records.result_tables import rich_table
from cluster.records.results import RESULTS_FILE, read_results
from cluster.records.run_facts import (
    RunFacts,
    command_line,
    installed_versions,
    machine,
    read_facts,
    write_facts,
)
from cluster.records.run_folder import HeldFolder, held_folder, new_folder
from cluster.records.run_log import RunLog
from cluster.report.run_page import write_report
from cluster.runtime.ray_session import ray_session
from cluster.training.frontier import COLD_START_POLICY, Frontier, cold_start_step, last_frontier
from data.schema import VideoPrompt
from rewards import constant_baseline
from rewards.terminal import Terminal, say

PERCENT = 100.0


def run(config: RunConfig, resume: bool = False) -> None:
    """Carry out a run; everything it leaves is in `config.run_dir`.

    Args:
        resume: Go on from what the run's folder holds: the cold start's policy and the newest checkpoint of its stage.

    Raises:
        ActorFailure, UserError: the run could not go on.
    """
    with ExitStack() as stack:
        folder, frontier = _claim(config, resume, stack)
        _carry_out(config, folder, frontier)
        _show_outcome(config)


def _carry_out(config: RunConfig, folder: HeldFolder, frontier: Frontier | None) -> None:
    began, started = time.monotonic(), datetime.now().astimezone()
    with ExitStack() as stack:
        progress = stack.enter_context(make_progress(config.run.name))
        files = stack.enter_context(ClipFiles(progress.waiting))
        prompts = prepare_prompts(config, progress, files)
        progress.constants(_constants(prompts.held_out, config))
        imported = _import_ahead("cluster.training.stages")
        with progress.waiting("starting Ray"):
            stack.enter_context(ray_session(config))
            stages = imported.result()
        log = stack.enter_context(_run_log(config, frontier, progress))
        with _leaving_facts(
            folder, lambda: _write_facts(config, started, time.monotonic() - began, progress)
        ):
            stages.carry_out(config, stack, files, prompts, log, progress, frontier)


@contextmanager
def _leaving_facts(folder: HeldFolder, write: Callable[[], None]) -> Iterator[None]:
    """Write the facts however it ends, but in the run's own folder alone: one in its place is another's.

    Raises:
        RunFolderGone: it is not where it was.
    """
    try:
        yield
    finally:
        folder.check()
        write()


def _import_ahead(name: str) -> Future[Any]:
    """Import a module in the background: torch takes as many seconds as Ray takes to start."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="import")
    imported = pool.submit(importlib.import_module, name)
    pool.shutdown(wait=False)
    return imported


def _claim(config: RunConfig, resume: bool, stack: ExitStack) -> tuple[HeldFolder, Frontier | None]:
    """Make the run's folder ours until the stack ends: empty for a new run, as it was left for a resumed one.

    Returns:
        The folder, and where a resumed run stands; None for a new one.

    Raises:
        ConfigError: there is nothing to resume, what is there was trained under another configuration, another process
            writes there, or the folder cannot be written.
    """
    folder = config.run_dir
    try:
        held = _take_up(config, stack) if resume else stack.enter_context(new_folder(folder))
        write_config(config)
    except OSError as error:
        raise ConfigError(
            f"The run's folder {folder.absolute()} cannot be made or written: {error}. Let this user (id "
            f"{os.getuid()}) write there, or give another folder: run.output_dir=/some/where"
        ) from error
    return held, last_frontier(config) if resume else None


def _take_up(config: RunConfig, stack: ExitStack) -> HeldFolder:
    if not (config.run_dir / CONFIG_FILE).exists():
        raise ConfigError(f"{config.run_dir} holds no run to resume; start it without --resume.")
    held = stack.enter_context(held_folder(config.run_dir))
    check_resumable(config)
    return held


def _constants(held_out: Sequence[VideoPrompt], config: RunConfig) -> dict[str, float]:
    """The constant answer's score on the held-out prompts of each task, in percent."""
    by_task: dict[str, list[VideoPrompt]] = {}
    for prompt in held_out:
        by_task.setdefault(str(prompt.task), []).append(prompt)
    return {
        task: PERCENT
        * constant_baseline(task, [(p.target, p.duration) for p in its], config.reward.mode).mean
        for task, its in by_task.items()
    }


@contextmanager
def _run_log(config: RunConfig, frontier: Frontier | None, progress: Progress) -> Iterator[RunLog]:
    sinks: list[Sink] = []
    if config.logging.ray_metrics:
        sinks.append(RayMetricsSink(config.run.name))
    if config.logging.wandb_mode != "disabled":
        sinks.append(
            WandbSink(
                mode=config.logging.wandb_mode,
                project=config.logging.wandb_project,
                run_name=config.run.name,
                run_dir=config.run_dir,
                config=config.model_dump(mode="json"),
            )
        )
    warm = frontier is not None and (config.run_dir / COLD_START_POLICY).is_dir()
    stage = Stage.GRPO if warm or not config.has_cold_start else Stage.COLD_START
    done = 0
    if frontier is not None:
        done = frontier.step if stage is Stage.GRPO else cold_start_step(config)
    try:
        log = RunLog(config.run_dir, sinks, progress.warn, stage, done)
    except ValueError as error:
        raise ConfigError(f"A record of the run is damaged; mend or delete its line. {error}") from error
    interrupted = False
    try:
        yield log
    except KeyboardInterrupt:
        interrupted = True
        raise
    finally:
        log.close(in_a_hurry=interrupted)


def _write_facts(config: RunConfig, started: datetime, seconds: float, progress: Progress) -> None:
    try:
        earlier = read_facts(config.run_dir)
    except ValueError as error:
        earlier = None
        progress.warn(f"the facts of the run before it was resumed are damaged and left out: {error}")
    facts = RunFacts(
        name=config.run.name,
        algorithm=config.run.algorithm,
        model=config.model.path,
        seed=config.run.seed,
        steps=last_frontier(config).step,
        started=earlier.started if earlier else started.isoformat(timespec="seconds"),
        seconds=seconds + (earlier.seconds if earlier else 0.0),
        command=command_line(),
        machine=machine(),
        versions=installed_versions(),
        warnings=list(progress.state.warnings),
    )
    write_facts(config.run_dir, facts)


def _show_outcome(config: RunConfig) -> None:
    """Write the report, then print where it lies and the result table; that one fails does not lose the others."""
    with ExitStack() as stack:
        stack.callback(_print_results, config.run_dir)
        page = write_report(config.run_dir)
        stack.callback(say, f"report: {page}")


def _print_results(run_dir: Path) -> None:
    if (run_dir / RESULTS_FILE).exists():
        Terminal().print(rich_table(read_results(run_dir)))
