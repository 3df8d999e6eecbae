"""The `--json` of a command: a file that it writes when all is done, looked into before anything is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer


def _in_a_folder(path: Path | None) -> Path | None:
    """The path. Raises `typer.BadParameter`, which ends a command by exit code 2, if no file can be written there."""
    if path and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise typer.BadParameter(f"{path.parent} is no folder that can be written to")
    return path


JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", help="Also write everything here.", dir_okay=False, writable=True, callback=_in_a_folder
    ),
]
