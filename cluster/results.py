"""The result table of one run, or of several seeds: `python -m cluster.results runs/a runs/b runs/c`.

Runs that differ in more than their seed are refused, with what differs; `--anyway` shows them above that list.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.errors import UserError
from cluster.records.markdown import markdown_list
from cluster.records.result_tables import combined_markdown, markdown_table
from cluster.records.results import read_results
from cluster.records.run_settings import said_of_settings
from rewards.terminal import say


def main(
    runs: Annotated[list[Path], typer.Argument(help="run folders, one per seed, or results.json files")],
    anyway: Annotated[bool, typer.Option("--anyway", help="Show them although settings differ.")] = False,
) -> None:
    """Print the result table of one run, or of several seeds together, as Markdown."""
    try:
        results = {str(run): read_results(run) for run in runs}
        said = said_of_settings(runs, anyway) if len(results) > 1 else []
        table = combined_markdown(results) if len(results) > 1 else markdown_table(*results.values())
    except (OSError, ValueError, UserError) as error:
        say(f"no table: {error}", is_error=True)
        raise typer.Exit(1) from error
    say(table)
    if said:
        say("\n" + markdown_list(said))


if __name__ == "__main__":
    typer.run(main)
