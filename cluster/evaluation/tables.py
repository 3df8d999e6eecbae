"""The tables of an evaluation for people, on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.table import Table

from cluster.evaluation.figures import Figure, TaskFigures
from cluster.evaluation.records import EvaluationResults
from cluster.evaluation.settings import unknown_settings
from cluster.records.bootstrap import Interval
from cluster.records.markdown import as_code, in_markdown, markdown_list, markdown_rows
from rewards import SPECS

COLUMNS = ("Dataset", "Metric", "Samples", "Score", "Trivial answer", "Constant answer", "Above constant")
FAILURE_COLUMNS = ("Dataset", "Counted 0 because", "Samples", "First")
NOTE = (
    "Percent; in brackets the bootstrap 95% interval over videos, each drawn with all its samples. Every sample "
    "counts, one without a readable answer as 0. Neither the trivial answer, which is fitted to nothing, nor the "
    "constant one needs the video: a score that is not above them shows no perception."
)
MOST_REASONS = 12
# Wide enough for the tables when the output is not a terminal.
PLAIN_WIDTH = 170
# Columns of texts; those of figures stand to the right.
TEXTS = {"Dataset", "Metric", "Counted 0 because", "First"}
# Words in the head of a column of figures that make it wider, where there is little room; longer ones are names.
LONGEST_HEAD = len("Difference")


def result_rows(results: EvaluationResults) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per metric, then one per part of the dataset."""
    for task in results.tasks:
        name = dataset_name(task.dataset, task.task)
        for figure in task.figures:
            yield name, figure.name, f"{task.samples:,}", *_figure_cells(figure)
        for part in task.parts:
            yield (
                name,
                metric_of(part.figure.name, part.part),
                f"{part.samples:,}",
                *_figure_cells(part.figure),
            )


def _figure_cells(figure: Figure) -> tuple[str, ...]:
    return (
        cell(figure.value),
        trivial_cell(figure.trivial),
        f"{figure.constant:.2f}",
        cell(figure.above, "+"),
    )


def failure_rows(results: EvaluationResults) -> Iterator[tuple[str, ...]]:
    """One row of `FAILURE_COLUMNS` per reason, the most frequent ones of each task."""
    for task in results.tasks:
        for failure in task.failures[:MOST_REASONS]:
            reason = f"{failure.kind}: {failure.reason}"
            yield dataset_name(task.dataset, task.task), reason, f"{failure.count:,}", failure.first
        if rest := task.failures[MOST_REASONS:]:
            count = f"{sum(failure.count for failure in rest):,}"
            yield (
                dataset_name(task.dataset, task.task),
                f"{len(rest):,} rarer reasons, in results.json",
                count,
                rest[0].first,
            )


def remarks(results: EvaluationResults) -> list[str]:
    """What must be known to read the figures: answers without a look, what is in no denominator, what is not known."""
    lines = [
        blind_answers(task.dataset, task.task, task.constant_answer, task.figures[0].trivial)
        for task in results.tasks
    ]
    lines += [
        f"{name}: {len(places):,} unusable annotations are in no denominator; the first: {places[0]}"
        for name, places in results.skipped.items()
    ]
    lines += [_over_all(task) for task in results.tasks if task.unusable]
    lines += [f"{note}." for note in results.notes]
    if unknown := unknown_settings(results.settings):
        lines.append(f"Not known of these answers: {', '.join(unknown)}.")
    return lines


def _over_all(task: TaskFigures) -> str:
    """The main metric, a mean over samples, with unusable annotations in its denominator."""
    entries, main = task.samples + task.unusable, task.figures[0]
    return (
        f"{dataset_name(task.dataset, task.task)}: {main.name} is {main.value.mean * task.samples / entries:.2f} over "
        f"all {entries:,} entries, the unusable ones counted as 0."
    )


def tables(results: EvaluationResults, width: int) -> Iterator[Table]:
    """The tables for a terminal of that many columns: figures, then reasons if anything failed."""
    yield rich_table(results.name, COLUMNS, list(result_rows(results)), [NOTE, *remarks(results)], width)
    if failed := list(failure_rows(results)):
        yield rich_table("Not answered, or not readably", FAILURE_COLUMNS, failed, [], width)


def markdown(results: EvaluationResults) -> str:
    """The same in Markdown, with the settings that the figures depend on."""
    failed = list(failure_rows(results))
    parts = [
        f"# {in_markdown(results.name)}",
        markdown_rows(COLUMNS, list(result_rows(results))),
        NOTE,
        markdown_list(remarks(results)),
        markdown_rows(FAILURE_COLUMNS, failed) if failed else "",
        markdown_rows(("Setting", "Value"), [(key, f"{value}") for key, value in results.settings.items()]),
        as_code(results.command),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def rich_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    notes: Sequence[str],
    width: int,
) -> Table:
    """A table for a terminal of that many columns, texts to the left and figures to the right.

    One that is wider breaks its figures between words, and leaves what room there is to the texts.
    """
    cells = list(zip(columns, *rows, strict=True))
    is_wide = sum(3 + max(map(len, column)) for column in cells) + 1 > width
    table = Table(
        title=title,
        caption="\n".join(notes),
        title_justify="left",
        caption_justify="left",
        collapse_padding=is_wide,
        pad_edge=not is_wide,
    )
    for head, *figures in cells:
        if head in TEXTS:
            table.add_column(head, overflow="fold")
        else:
            own = _longest_word(head, *figures) if is_wide else None
            table.add_column(head, justify="right", overflow="fold", width=own)
    last = ""
    for row in rows:
        if last and row[0] != last:
            table.add_section()
        last = row[0]
        table.add_row(*row)
    return table


def _longest_word(head: str, *figures: str) -> int:
    heads = [len(word) for word in head.split() if len(word) <= LONGEST_HEAD]
    return max([*heads, *(len(word) for figure in figures for word in figure.split())])


def dataset_name(dataset: str, task: str) -> str:
    """`charades, Temporal grounding`."""
    return f"{dataset}, {SPECS[task].title}"


def metric_of(name: str, part: str | None) -> str:
    """`accuracy`, or of a part of the dataset `accuracy, short`."""
    return f"{name}, {part}" if part else name


def cell(interval: Interval, sign: str = "") -> str:
    """`26.99 [26.41, 27.58]`."""
    return f"{interval.mean:{sign}.2f} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def trivial_cell(trivial: Mapping[str, float]) -> str:
    """`26.99`; `–` for a task that has no trivial answer."""
    return " / ".join(f"{value:.2f}" for value in trivial.values()) or "–"


def blind_answers(dataset: str, task: str, constant: str, trivial: Iterable[str]) -> str:
    """What these answers are, in words: `charades, ...: the constant answer is ...; the trivial one: whole video`."""
    named = "".join(f"; the trivial one: {name}" for name in trivial)
    return f"{dataset_name(dataset, task)}: the constant answer is {constant}{named}."
