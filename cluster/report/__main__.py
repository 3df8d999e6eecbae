"""Writes a run's report anew: `python -m cluster.report runs/local`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.errors import UserError
from cluster.report.run_page import write_report


def main(run: Annotated[Path, typer.Argument(help="run folder")]) -> None:
    """Write a run's report.html anew and print its path."""
    try:
        typer.echo(write_report(run))
    except (OSError, ValueError, UserError) as error:
        typer.echo(f"no report: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
