"""The datasets that a configuration lists: read, filtered, cut to their caps, and ready to be mixed."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cluster.config import Dataset, RunConfig, TrainingDataset
from cluster.errors import RunFailure
from cluster.inputs.grades import differing_settings, read_difficulties
from cluster.inputs.prompt_mix import Pool
from cluster.progress.display import Progress
from data.limits import reason_of
from data.readers import DatasetError, DatasetSpec, Reading, read
from data.schema import Task, VideoPrompt

# Skipped entries that are named one by one.
MOST_NAMED = 5
# Chooses held-out prompts, whatever the run's own seed: runs of several seeds are evaluated on the same ones.
HELD_OUT_SEED = "held out"


@dataclass(frozen=True)
class Band:
    """A range of graded difficulty, its ends included.

    Attributes:
        grades: Difficulty by prompt id.
    """

    low: float
    high: float
    grades: Mapping[str, float]

    def keep(self, prompts: Sequence[VideoPrompt], name: str, progress: Progress) -> list[VideoPrompt]:
        """The prompts within; those without a grade are left out, and both are counted.

        Raises:
            RunFailure: none is.
        """
        graded = [prompt for prompt in prompts if prompt.id in self.grades]
        kept = [prompt for prompt in graded if self.low <= self.grades[prompt.id] <= self.high]
        progress.say(
            f"{name}: {len(kept):,} of {len(prompts):,} prompts have a difficulty of {self.low:g} to {self.high:g}; "
            f"{len(prompts) - len(graded):,} have no grade and are left out"
        )
        if not kept:
            raise RunFailure(f"{name}: no prompt has a difficulty of {self.low:g} to {self.high:g}")
        return kept


def spec_of(entry: Dataset | str) -> DatasetSpec:
    """What a reader is told of an entry, or of the path of a file in our own form."""
    if isinstance(entry, str):
        return DatasetSpec.of_texts(entry, "jsonl", entry)
    return DatasetSpec.of_texts(entry.name, entry.format, entry.annotations, entry.videos, entry.options)


def read_entry(entry: Dataset | str, tasks: Collection[Task]) -> tuple[list[VideoPrompt], Reading]:
    """The prompts of an entry that its filters and `tasks` leave, and all that was read.

    Prompts are named `<dataset>/<id>`; those of a file, which `data.source` gives by its path, by their ids alone.

    Raises:
        DatasetError, OSError: it cannot be read.
    """
    reading = read(spec_of(entry))
    wanted = [prompt for prompt in reading.prompts if prompt.task in tasks]
    if isinstance(entry, str):
        return wanted, reading
    lasting = (prompt for prompt in wanted if _lasts(prompt, entry.duration))
    return [replace(prompt, id=f"{entry.name}/{prompt.id}") for prompt in lasting], reading


def training_pools(config: RunConfig, tasks: Collection[Task], progress: Progress) -> list[Pool]:
    """One pool for each training dataset.

    Raises:
        RunFailure: a dataset cannot be read, or nothing usable is left of one.
    """
    return [_pool(config, entry, tasks, progress) for entry in config.data.datasets]


def held_out_prompts(
    config: RunConfig, tasks: Collection[Task], progress: Progress
) -> list[list[VideoPrompt]]:
    """The prompts of each held-out dataset.

    Raises:
        RunFailure: as in `training_pools`.
    """
    found = [(entry, read_or_fail(entry, tasks, progress)) for entry in config.data.eval_datasets]
    return [capped(entry, prompts, HELD_OUT_SEED) for entry, prompts in found]


def difficulty_band(
    config: RunConfig, progress: Progress, entry: TrainingDataset | None = None
) -> Band | None:
    """The band that a dataset is held to, by its own entry or by `data.difficulty`; None without one."""
    limits = (entry.difficulty if entry else None) or config.data.difficulty
    if limits is None or config.data.grades is None:
        return None
    for difference in differing_settings(config):
        progress.warn(f"{config.data.grades} was graded under another setting: {difference}")
    return Band(*limits, read_difficulties(config.data.grades))


def read_or_fail(entry: Dataset | str, tasks: Collection[Task], progress: Progress) -> list[VideoPrompt]:
    """The prompts of `read_entry`, with warnings of what was skipped or looks wrong.

    Raises:
        RunFailure: the dataset cannot be read, or nothing usable is left of it.
    """
    name = spec_of(entry).name
    try:
        prompts, reading = read_entry(entry, tasks)
    except (DatasetError, OSError) as error:
        raise RunFailure(f"dataset {name} cannot be read: {reason_of(error)}") from error
    for warning in remarks(reading, name):
        progress.warn(warning)
    if not prompts:
        raise RunFailure(f"dataset {name}: {reading.nothing_left(tasks)}")
    return prompts


def remarks(reading: Reading, source: str) -> Iterator[str]:
    """Warnings of what was skipped, the first by name, then how many; and of what looks wrong and is used."""
    problems, doubts = reading.problems, reading.warnings
    yield from (f"skipped {problem}" for problem in problems[:MOST_NAMED])
    if len(problems) > MOST_NAMED:
        yield f"skipped {len(problems)} entries of {source} in all"
    if doubts:
        yield f"{len(doubts)} of {source} used as annotated, the first: {doubts[0]}"


def capped(entry: Dataset, prompts: list[VideoPrompt], seed: int | str) -> list[VideoPrompt]:
    """A seeded choice of as many prompts as the entry's cap allows, in their order."""
    if entry.cap is None or len(prompts) <= entry.cap:
        return prompts
    places = random.Random(f"{seed}/{entry.name}/cap").sample(range(len(prompts)), entry.cap)
    return [prompts[place] for place in sorted(places)]


def _pool(config: RunConfig, entry: TrainingDataset, tasks: Collection[Task], progress: Progress) -> Pool:
    prompts = read_or_fail(entry, tasks, progress)
    band = difficulty_band(config, progress, entry)
    kept = capped(entry, band.keep(prompts, entry.name, progress) if band else prompts, config.run.seed)
    return Pool(entry.name, kept, entry.weight or len(kept))


def _lasts(prompt: VideoPrompt, bounds: tuple[float, float] | None) -> bool:
    if bounds is None:
        return True
    return prompt.duration is not None and bounds[0] <= prompt.duration <= bounds[1]
