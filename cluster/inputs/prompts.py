"""The prompts of a run: synthetic ones rendered, or read from annotation files and datasets."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from cluster.config import SYNTHETIC, RunConfig
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.datasets import (
    HELD_OUT_SEED,
    difficulty_band,
    held_out_prompts,
    read_or_fail,
    training_pools,
)
from cluster.inputs.prompt_mix import Pool, PromptStream
from cluster.progress.display import Progress
from data.prompts import PromptStyle
from data.rendering import RENDERING_VERSION
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt, write_annotations
from data.synthetic import HELD_OUT_SEED_START, TASKS, Scene, make_scene
from rewards.scoring import read_options

# Seeds of a run's training clips; those of different runs may overlap, held-out seeds lie above all of them.
TRAINING_SEED_STRIDE = 100_003
FIRST_TRAINING_SEED = 1_000_000


@dataclass(frozen=True)
class PromptSet:
    """Prompts for training and evaluation.

    Attributes:
        scenes: The scene of each synthetic training prompt by prompt id; what demonstrations are written from.
        pools: The training prompts by dataset, where there are several.
    """

    train: list[VideoPrompt]
    held_out: list[VideoPrompt]
    scenes: Mapping[str, Scene]
    pools: Sequence[Pool] = ()

    @property
    def mix(self) -> Sequence[Pool]:
        """What training draws from."""
        return self.pools or [Pool("", self.train, 1.0)]


def contract_of(config: RunConfig) -> SamplingContract:
    """The sampling contract that the run's `video` section describes."""
    video = config.video
    return SamplingContract(
        fps=video.fps,
        min_frames=video.min_frames,
        max_frames=video.max_frames,
        min_pixels=video.min_pixels,
        max_pixels=video.max_pixels,
        total_pixels=video.total_pixels,
    )


def prompt_style_of(config: RunConfig) -> PromptStyle:
    """How the run's prompts ask for their answers."""
    options = {str(task): read_options(task, given) for task, given in config.reward.options.items()}
    return PromptStyle(config.data.template, options)


def prepare_prompts(config: RunConfig, progress: Progress, files: ClipFiles) -> PromptSet:
    """Read or make up everything the run trains and is evaluated on.

    Args:
        files: Renders synthetic clips; they need not be there yet when this returns.

    Raises:
        RunFailure: nothing usable is left of a dataset.
    """
    train = prepare_training(config, progress, files)
    return replace(train, held_out=prepare_held_out(config, progress, files))


def prepare_training(config: RunConfig, progress: Progress, files: ClipFiles) -> PromptSet:
    """The training prompts alone. Arguments and errors as in `prepare_prompts`."""
    tasks = _wanted(config.data.tasks)
    if config.data.datasets:
        pools = training_pools(config, tasks, progress)
        return PromptSet([prompt for pool in pools for prompt in pool.prompts], [], {}, pools)
    band = difficulty_band(config, progress)
    if config.data.source != SYNTHETIC:
        train = read_or_fail(config.data.source, tasks, progress)
        train = band.keep(train, config.data.source, progress) if band else train
        random.Random(config.run.seed).shuffle(train)
        return PromptSet(train[: config.data.num_prompts], [], {})
    first = FIRST_TRAINING_SEED + config.run.seed * TRAINING_SEED_STRIDE % (HELD_OUT_SEED_START // 2)
    counts = _shares(tasks, config.data.num_prompts or 0)
    train, scenes = _synthesize(config, contract_of(config), counts, first, "train")
    train = band.keep(train, SYNTHETIC, progress) if band else train
    stream = PromptStream(train, config.run.seed)
    _render(files, scenes, [stream[place] for place in range(len(train))], progress)
    return PromptSet(train, [], scenes)


def prepare_held_out(config: RunConfig, progress: Progress, files: ClipFiles) -> list[VideoPrompt]:
    """The held-out prompts alone. Arguments and errors as in `prepare_prompts`."""
    tasks, per_task = _wanted(config.data.tasks), config.data.eval_prompts_per_task
    if config.data.eval_datasets:
        return _some_of_each(held_out_prompts(config, tasks, progress), per_task)
    if config.data.eval_source != SYNTHETIC:
        return _some_of_each([read_or_fail(config.data.eval_source, tasks, progress)], per_task)
    counts = dict.fromkeys(tasks, per_task)
    prompts, scenes = _synthesize(config, contract_of(config), counts, HELD_OUT_SEED_START, "held_out")
    _render(files, scenes, prompts, progress)
    return prompts


def _wanted(tasks: Mapping[Task, float]) -> dict[Task, float]:
    return {task: weight for task, weight in tasks.items() if weight > 0}


def _shares(tasks: Mapping[Task, float], total: int) -> dict[Task, int]:
    """`total` split by weight, at least one prompt for each task."""
    whole = sum(tasks.values())
    return {task: max(1, round(total * weight / whole)) for task, weight in tasks.items()}


def _synthesize(
    config: RunConfig,
    contract: SamplingContract,
    counts: Mapping[Task, int],
    first_seed: int,
    split: str,
) -> tuple[list[VideoPrompt], dict[str, Scene]]:
    """Prompts and scenes of a split; its annotations are written into the run's folder."""
    folder = (Path(config.run.output_dir) / f"clips-v{RENDERING_VERSION}" / split).absolute()
    seeds = [
        (task, first_seed + len(TASKS) * i + TASKS.index(task))
        for task, n in counts.items()
        for i in range(n)
    ]
    pairs = [make_scene(task, seed, contract) for task, seed in seeds]
    prompts = [replace(prompt, video=str(folder / prompt.video)) for _, prompt in pairs]
    write_annotations(config.run_dir / f"prompts_{split}.jsonl", prompts)
    return prompts, {prompt.id: scene for scene, prompt in pairs}


def _render(
    files: ClipFiles, scenes: Mapping[str, Scene], prompts: Sequence[VideoPrompt], progress: Progress
) -> None:
    missing = files.render([(scenes[prompt.id], Path(prompt.video)) for prompt in prompts])
    if missing:
        progress.say(f"rendering {missing:,} clips in the background")


def _some_of_each(datasets: Sequence[Sequence[VideoPrompt]], per_task: int) -> list[VideoPrompt]:
    """At most so many prompts of each task, chosen by chance and evenly from the datasets, in their order."""
    kept: list[VideoPrompt] = []
    for task in Task:
        own = [[prompt for prompt in dataset if prompt.task is task] for dataset in datasets]
        shuffled = [random.Random(HELD_OUT_SEED).sample(dataset, len(dataset)) for dataset in own]
        turns = [one for turn in zip_longest(*shuffled) for one in turn if one is not None]
        chosen = {prompt.id for prompt in turns[:per_task]}
        kept += [prompt for dataset in own for prompt in dataset if prompt.id in chosen]
    return kept
