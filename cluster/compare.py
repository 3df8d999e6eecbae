"""Compares two evaluations prompt by prompt: `python -m cluster.compare A B`, two folders of `cluster.evaluate`.

Evaluations that were not asked or scored alike are refused, with what differs; `--anyway` shows them under that list.
Exit code: 0 compared, 1 not comparable or not there, 2 `--json` cannot be written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.command_line import ended_by_a_message
from cluster.evaluation.comparison import Comparison, Difference, compare, read_evaluation
from cluster.evaluation.tables import (
    PLAIN_WIDTH,
    blind_answers,
    cell,
    dataset_name,
    metric_of,
    rich_table,
    trivial_cell,
)
from cluster.records.markdown import markdown_list, markdown_rows
from data.json_option import JsonFile
from rewards.terminal import Terminal, say

NOTE = (
    "Percent; in brackets the bootstrap 95% interval over videos, each drawn with all its prompts, of the difference "
    "over pairs of answers to the same prompt: one that holds 0 shows no difference."
)


def main(
    first: Annotated[Path, typer.Argument(help="Folder of an evaluation.")],
    second: Annotated[Path, typer.Argument(help="Folder of the one to compare with it.")],
    anyway: Annotated[bool, typer.Option("--anyway", help="Show them although settings differ.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    json_path: JsonFile = None,
) -> None:
    """Print what the second evaluation has above the first."""
    with ended_by_a_message("Nothing was written."):
        found = compare(read_evaluation(first), read_evaluation(second), anyway)
    if json_path:
        json_path.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    if as_markdown:
        say(markdown(found))
        return
    console = Terminal()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    title, notes = " and ".join(found.names), [NOTE, *remarks(found)]
    console.print(rich_table(title, columns(found), list(map(row, found.rows)), notes, console.width))


def columns(found: Comparison) -> tuple[str, ...]:
    """The heads of the table."""
    first, second = found.names
    if first == second:
        first, second = f"{first} (first)", f"{second} (second)"
    return "Dataset", "Metric", "Samples", first, second, "Difference", "Trivial answer", "Constant answer"


def row(found: Difference) -> tuple[str, ...]:
    """One metric, of a whole dataset or of a part of it."""
    return (
        dataset_name(found.dataset, found.task),
        metric_of(found.name, found.part),
        f"{found.samples:,}",
        cell(found.first),
        cell(found.second),
        cell(found.gain, "+"),
        trivial_cell(found.trivial),
        f"{found.constant:.2f}",
    )


def remarks(found: Comparison) -> list[str]:
    """What must be said with the table, what differs first."""
    blind = [blind_answers(one.dataset, one.task, one.constant_answer, one.trivial) for one in found.rows]
    return [
        *(f"NOT EVALUATED ALIKE: {warning}" for warning in found.warnings),
        *(f"{note}." for note in found.notes),
        *dict.fromkeys(blind),
    ]


def markdown(found: Comparison) -> str:
    """The table in Markdown."""
    table = markdown_rows(columns(found), list(map(row, found.rows)))
    return f"{table}\n\n{NOTE}\n\n{markdown_list(remarks(found))}"


if __name__ == "__main__":
    typer.run(main)
