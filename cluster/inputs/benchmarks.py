"""The benchmark mix of a configuration: the held-out datasets it names, whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cluster.config import SYNTHETIC, Dataset, RunConfig
from cluster.errors import ConfigError
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.datasets import HELD_OUT_SEED, capped, read_entry, remarks
from cluster.inputs.prompts import prepare_held_out
from cluster.progress.display import Progress
from data.limits import reason_of
from data.readers import DatasetError
from data.schema import Task, VideoPrompt
from rewards.scoring import measured_options


@dataclass(frozen=True)
class Benchmark:
    """A held-out dataset.

    Attributes:
        name: What the ids of its prompts begin with.
        prompts: What is asked, and what every figure is over.
        skipped: `place: reason` of annotations that nothing can be scored against, in no denominator.
        is_whole: Whether neither a cap nor a filter left anything out.
    """

    name: str
    prompts: tuple[VideoPrompt, ...]
    skipped: tuple[str, ...] = ()
    is_whole: bool = True

    def by_task(self) -> Iterator[tuple[Task, list[VideoPrompt]]]:
        """The prompts of each task that has some."""
        for task in Task:
            if own := [prompt for prompt in self.prompts if prompt.task is task]:
                yield task, own


def for_evaluation(config: RunConfig) -> RunConfig:
    """A configuration as it evaluates: a folder of its own, the held-out datasets whole, and nothing to train.

    Options that only shape a reward are left out: figures are taken by everyone's definitions.
    """
    options = {task: measured_options(task, given) for task, given in config.reward.options.items()}
    changed: dict[str, dict[str, Any]] = {
        "run": {"name": f"{config.run.name}-evaluation"},
        "data": _held_out(config),
        "reward": {"weights": {}, "custom": {}, "shuffle_bonus": {}, "options": options},
        "learner": {"cpus_per_worker": 0.0, "gpus_per_worker": 0.0},
    }
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=fields) for name, fields in changed.items()}
    )


def read_benchmarks(config: RunConfig, progress: Progress) -> list[Benchmark]:
    """The held-out datasets, each cut to its cap.

    Raises:
        ConfigError: there are none, or one cannot be read.
    """
    if not config.data.eval_datasets:
        raise ConfigError(
            "no dataset to evaluate on: data.eval_datasets lists some, or data.eval_source names a file"
        )
    return [_read(entry, progress) for entry in config.data.eval_datasets]


def prepare_benchmarks(config: RunConfig, progress: Progress, files: ClipFiles) -> list[Benchmark]:
    """As `read_benchmarks`; where the held-out clips are synthetic, those, which `files` renders."""
    if config.data.eval_datasets:
        return read_benchmarks(config, progress)
    prompts = prepare_held_out(config, progress, files)
    return [Benchmark(SYNTHETIC, tuple(replace(prompt, id=f"{SYNTHETIC}/{prompt.id}") for prompt in prompts))]


def all_prompts(benchmarks: Sequence[Benchmark]) -> list[VideoPrompt]:
    """The prompts of all datasets, in order."""
    return [prompt for benchmark in benchmarks for prompt in benchmark.prompts]


def plain_ids(benchmarks: Sequence[Benchmark]) -> dict[str, str]:
    """Ids of prompts by their dataset's own ids, those that only one dataset uses."""
    pairs = [(prompt.id.partition("/")[2], prompt.id) for prompt in all_prompts(benchmarks)]
    uses = Counter(plain for plain, _ in pairs)
    return {plain: full for plain, full in pairs if uses[plain] == 1}


def _held_out(config: RunConfig) -> dict[str, Any]:
    """The `data` section without what is trained on; `tasks` are shares of that, and every held-out prompt counts."""
    data = config.data
    entries = data.eval_datasets
    if data.eval_source != SYNTHETIC:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data.eval_source).stem).strip("-._") or "held-out"
        entries = (Dataset(name=name, format="jsonl", annotations=data.eval_source),)
    tasks = dict.fromkeys(Task, 1.0) if entries else data.tasks
    training = {"source": SYNTHETIC, "datasets": (), "grades": None, "difficulty": None}
    return {**training, "eval_source": SYNTHETIC, "eval_datasets": entries, "tasks": tasks}


def _read(entry: Dataset, progress: Progress) -> Benchmark:
    try:
        prompts, reading = read_entry(entry, set(Task))
    except (DatasetError, OSError) as error:
        raise ConfigError(f"dataset {entry.name} cannot be read: {reason_of(error)}") from error
    for warning in remarks(reading, entry.name):
        progress.warn(warning)
    if not prompts:
        tasks = sorted({prompt.task for prompt in reading.prompts})
        raise ConfigError(f"dataset {entry.name}: {reading.nothing_left(tasks)}")
    kept = capped(entry, prompts, HELD_OUT_SEED)
    is_whole = len(kept) == len(prompts) and entry.duration is None
    return Benchmark(entry.name, tuple(kept), tuple(reading.problems), is_whole)
