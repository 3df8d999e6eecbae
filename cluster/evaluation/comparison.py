"""Two evaluations of the same prompts: per metric the difference, its interval from paired resamples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import UserError
from cluster.evaluation.figures import Figure, TaskFigures, part_of, resampled, scored_samples
from cluster.evaluation.records import EvaluationResults, read_results, read_samples
from cluster.evaluation.settings import obstacles, unknown_settings
from cluster.records.bootstrap import Interval, Rounded, interval
from cluster.records.eval_records import EvalSample
from rewards import SPECS


class NotComparable(UserError):
    """Two evaluations that do not belong into one table."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as its folder keeps it, samples by prompt id."""

    folder: Path
    results: EvaluationResults
    samples: Mapping[str, EvalSample]


class Difference(BaseModel):
    """One metric of one task of one dataset, in percent where it is a share.

    Attributes:
        part: Of the dataset, where the figure is over one alone; by the main metric only.
        samples: How many prompts both answered or failed to.
        gain: Second minus first.
        constant: Of the best constant answer, as the first evaluation has it over its own prompts.
        trivial: Of answers that are fitted to nothing, by name; likewise.
    """

    model_config = ConfigDict(frozen=True)

    dataset: str
    task: str
    name: str
    part: str | None = None
    samples: int
    first: Interval
    second: Interval
    gain: Interval
    constant: Rounded
    constant_answer: str
    trivial: dict[str, Rounded] = {}


class Comparison(BaseModel):
    """Two evaluations side by side.

    Attributes:
        warnings: Settings that differ, and datasets that only one is of.
        notes: What must be known beside: settings that are not known of either.
    """

    model_config = ConfigDict(frozen=True)

    names: tuple[str, str]
    rows: list[Difference]
    warnings: list[str]
    notes: list[str]


def read_evaluation(folder: Path) -> Evaluation:
    """An evaluation from its folder.

    Raises:
        UserError: there is none, or a file of it is damaged.
    """
    try:
        return Evaluation(folder, read_results(folder), read_samples(folder))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no finished evaluation: {error.filename} is not there") from error
    except ValidationError as error:
        raise UserError(
            f"{folder}: {error.error_count()} fields are not those of an evaluation; two training runs are put side by "
            "side by `python -m cluster.results`"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: {error}") from error


def compare(first: Evaluation, second: Evaluation, anyway: bool = False) -> Comparison:
    """Compare two evaluations on the datasets that both are of.

    Args:
        anyway: Compare them although settings differ; on the prompts that both have.

    Raises:
        NotComparable: they share no prompt, or settings differ and it is not to be done anyway.
    """
    groups = dict(_shared(first, second))
    if not groups:
        raise NotComparable(f"{first.folder} and {second.folder} have no prompt of the same task in common")
    differing = list(obstacles(first.results.settings, second.results.settings, {name for name, _ in groups}))
    if differing and not anyway:
        listed = "\n".join(f"  - {difference}" for difference in differing)
        raise NotComparable(
            f"{first.folder} and {second.folder} were not evaluated alike:\n{listed}\n"
            "Their difference need not be one between policies; --anyway shows it, with this list."
        )
    return Comparison(
        names=(first.results.name, second.results.name),
        rows=[row for group, ids in groups.items() for row in _rows(*group, ids, first, second)],
        warnings=differing,
        notes=[
            *_only_one(first, second, {name for name, _ in groups}),
            *_of_more_prompts(first, groups),
            *_not_known(first, second),
        ],
    )


def _shared(first: Evaluation, second: Evaluation) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Dataset and task, and the prompts of it that both evaluations have."""
    tables = [(table.dataset, table.task) for table in first.results.tasks]
    theirs = {(table.dataset, table.task) for table in second.results.tasks}
    for dataset, task in tables:
        ids = [
            name
            for name, sample in first.samples.items()
            if name in second.samples and sample.prompt.task == task and _dataset(name) == dataset
        ]
        if ids and (dataset, task) in theirs:
            yield (dataset, task), ids


def _rows(
    dataset: str, task: str, ids: Sequence[str], first: Evaluation, second: Evaluation
) -> Iterator[Difference]:
    """Every metric over all of these prompts, then the main one over those of each part that the evaluation has."""
    pairs = [[one.samples[name] for name in ids] for one in (first, second)]
    table = next(table for table in first.results.tasks if (table.dataset, table.task) == (dataset, task))
    yield from _differences(table, table.figures, pairs)
    for part in table.parts:
        places = [place for place, sample in enumerate(pairs[0]) if part_of(sample) == part.part]
        if places:
            yield from _differences(
                table, [part.figure], [[samples[place] for place in places] for samples in pairs], part.part
            )


def _differences(
    table: TaskFigures,
    blind: Sequence[Figure],
    pairs: Sequence[Sequence[EvalSample]],
    part: str | None = None,
) -> Iterator[Difference]:
    """Metrics of pairs of answers to the same prompts.

    Args:
        blind: What the first evaluation has of each metric. Its captions' judge scored the constant answer as well, and
            is not asked anew.
    """
    figures = {figure.name: figure for figure in blind}
    metrics = [metric for metric in SPECS[table.task].metrics if metric.name in figures]
    videos = [sample.prompt.video for sample in pairs[0]]
    values = resampled(metrics, [*map(scored_samples, pairs)], videos)
    for metric, before, after in zip(metrics, *values, strict=True):
        yield Difference(
            dataset=table.dataset,
            task=table.task,
            name=metric.name,
            part=part,
            samples=len(videos),
            first=interval(before[0], before[1:]),
            second=interval(after[0], after[1:]),
            gain=interval((after - before)[0], (after - before)[1:]),
            constant=figures[metric.name].constant,
            constant_answer=table.constant_answer,
            trivial=figures[metric.name].trivial,
        )


def _of_more_prompts(first: Evaluation, groups: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    """Where the blind answers stand for other prompts than the pairs."""
    for table in first.results.tasks:
        ids = groups.get((table.dataset, table.task), ())
        if 0 < len(ids) < table.samples:
            yield (
                f"{table.dataset}, {table.task}: constant and trivial answer are of all {table.samples:,} prompts of "
                f"{first.folder}, the rest of the {len(ids):,} that both have"
            )


def _dataset(prompt_id: str) -> str:
    return prompt_id.partition("/")[0]


def _only_one(first: Evaluation, second: Evaluation, shared: set[str]) -> Iterator[str]:
    for one in (first, second):
        for name in dict.fromkeys(table.dataset for table in one.results.tasks):
            if name not in shared:
                yield f"{name} is in {one.folder} alone"


def _not_known(first: Evaluation, second: Evaluation) -> Iterator[str]:
    for one in (first, second):
        if unknown := unknown_settings(one.results.settings):
            yield f"not known of {one.folder}: {', '.join(unknown)}"
