"""The result table of one run, or of several seeds: `python -m cluster.results runs/a runs/b runs/c`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.records.result_tables import combined_markdown, markdown_table
from cluster.records.results import read_results


def main(
    runs: Annotated[list[Path], typer.Argument(help="run folders, one per seed, or results.json files")],
) -> None:
    """Print the result table of one run, or of several seeds together, as Markdown."""
    try:
        results = {str(run): read_results(run) for run in runs}
        table = combined_markdown(results) if len(results) > 1 else markdown_table(*results.values())
    except (OSError, ValueError) as error:
        typer.echo(f"no table: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(table)


if __name__ == "__main__":
    typer.run(main)
