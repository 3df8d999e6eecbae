"""Mistakes between the fields that say which prompts there are: tasks, sources, datasets, difficulties."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cluster.config import SYNTHETIC, Dataset, RunConfig
from cluster.config.problems import Problem
from data.synthetic import TASKS as SYNTHETIC_TASKS


def _tasks(config: RunConfig) -> Iterator[Problem]:
    weights = config.data.tasks
    if not any(weight > 0 for weight in weights.values()) or any(weight < 0 for weight in weights.values()):
        yield Problem(("data.tasks",), "weights must be 0 or more, at least one of them above 0")


def _sources(config: RunConfig) -> Iterator[Problem]:
    data = config.data
    if config.trains_on_synthetic and data.num_prompts is None:
        yield Problem(
            ("data.num_prompts", "data.source", "data.datasets"),
            "synthetic prompts have no end; say how many to render",
        )
    if data.source != SYNTHETIC and Path(data.source).resolve() == Path(data.eval_source).resolve():
        yield Problem(
            ("data.source", "data.eval_source"),
            "held-out prompts must not be the training prompts; give two files",
        )


def _synthetic_tasks(config: RunConfig) -> Iterator[Problem]:
    unknown = [
        task for task, weight in config.data.tasks.items() if weight > 0 and task not in SYNTHETIC_TASKS
    ]
    on_synthetic = {
        "data.source": config.trains_on_synthetic,
        "data.eval_source": config.evaluates_on_synthetic,
    }
    for key, is_synthetic in on_synthetic.items():
        if unknown and is_synthetic:
            yield Problem(
                (key, "data.tasks"),
                f"no synthetic clips are made for {', '.join(unknown)}, only for {', '.join(SYNTHETIC_TASKS)}",
            )


def _datasets(config: RunConfig) -> Iterator[Problem]:
    for source, datasets in (("source", "datasets"), ("eval_source", "eval_datasets")):
        if getattr(config.data, source) != SYNTHETIC and getattr(config.data, datasets):
            yield Problem(
                (f"data.{source}", f"data.{datasets}"),
                f"prompts come from one of them; leave one out, or set data.{source} back to `{SYNTHETIC}`",
            )
    yield from _entries("data.datasets", config.data.datasets)
    yield from _entries("data.eval_datasets", config.data.eval_datasets)
    yield from _held_out(config)
    open_weights = [entry.weight is None for entry in config.data.datasets]
    if any(open_weights) and not all(open_weights):
        keys = (f"data.datasets[{index}].weight" for index in range(len(open_weights)))
        yield Problem(tuple(keys), "weights are relative to each other: give every dataset one, or none")


def _held_out(config: RunConfig) -> Iterator[Problem]:
    entries = enumerate(config.data.eval_datasets)
    held_out = {f"data.eval_datasets[{index}].annotations": entry.annotations for index, entry in entries}
    trained_on = {Path(entry.annotations).resolve() for entry in config.data.datasets}
    for key, path in {"data.eval_source": config.data.eval_source, **held_out}.items():
        if Path(path).resolve() in trained_on:
            yield Problem((key,), "held-out prompts must not be the training prompts; give another file")


def _entries(key: str, entries: Sequence[Dataset]) -> Iterator[Problem]:
    names = [entry.name for entry in entries]
    for index, entry in enumerate(entries):
        if entry.name in names[:index]:
            yield Problem((f"{key}[{index}].name",), "an earlier dataset of the list has that name")
        yield from _format(f"{key}[{index}].format", entry.format)
        if entry.duration and not 0 <= entry.duration[0] <= entry.duration[1]:
            yield Problem(
                (f"{key}[{index}].duration",), "must be the shortest and the longest time in seconds"
            )


def _format(key: str, name: str) -> Iterator[Problem]:
    # Some formats take libraries that are slow to import; who lists no dataset does not wait for them.
    from data.readers import READERS

    if name not in READERS:
        meant = difflib.get_close_matches(name, READERS, n=1)
        hint = f"did you mean {meant[0]}?" if meant else f"valid here: {', '.join(READERS)}"
        yield Problem((key,), f"there is no such format; {hint}")


def _difficulty(config: RunConfig) -> Iterator[Problem]:
    bands = {
        f"data.datasets[{i}].difficulty": entry.difficulty for i, entry in enumerate(config.data.datasets)
    }
    for key, band in {"data.difficulty": config.data.difficulty, **bands}.items():
        if band is None:
            continue
        if not 0 <= band[0] <= band[1] <= 1:
            yield Problem((key,), "must be the least and the greatest difficulty, both in 0-1")
        if config.data.grades is None:
            yield Problem((key, "data.grades"), "difficulties are graded ones; say which file has them")


DATA_CHECKS = (_tasks, _sources, _synthetic_tasks, _datasets, _difficulty)
