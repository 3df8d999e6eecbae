"""Writes a run's report anew: `python -m cluster.report runs/local`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cluster.errors import UserError
from cluster.report.run_page import write_report
from rewards.terminal import say


def main(run: Annotated[Path, typer.Argument(help="run folder")]) -> None:
    """Write a run's report.html anew and print its path."""
    try:
        say(str(write_report(run)))
    except (OSError, ValueError, UserError) as error:
        say(f"no report: {error}", is_error=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
