"""Everything that only a GPU can show, in one table and at most 12 minutes.

`python -m benchmarks.gpu_check` runs the parts of `benchmarks.gpu_parts` one after the other, each in a process of its
own with a deadline of its own: one that fails or takes too long is a row that says so. `--plan` prints them without a
GPU; `--part NAME` runs some of them. Outputs of a part that failed stay in the folder that the last line names.

Ends with 0 when all parts went well, 1 when one did not, and 2 where there is no GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import mkdtemp
from typing import Annotated, NamedTuple

import psutil
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_parts import PARTS, Part

ROOT = Path(__file__).resolve().parents[1]
MINUTES = 12.0
NO_GPU = 2
# What a part that is told to end gets to do so: a run ends its Ray.
GRACE_S = 10.0


class Row(NamedTuple):
    """What became of a part.

    Attributes:
        outcome: `ok`, or why there are no figures.
        seconds: How long it took.
    """

    name: str
    outcome: str
    seconds: float
    figures: dict[str, str]


def check(names: list[str], device: torch.device, folder: Path, minutes: float = MINUTES) -> list[Row]:
    """Run these parts within so many minutes altogether; those that no time is left for say so."""
    end, gpus, rows = time.monotonic() + 60 * minutes, torch.cuda.device_count(), []
    for name in names:
        part, left = PARTS[name], end - time.monotonic() - GRACE_S
        if device.type == "cuda" and part.gpus > gpus:
            rows.append(Row(name, f"needs {part.gpus} GPUs, there is {gpus}", 0.0, {}))
        elif left <= 0:
            rows.append(Row(name, f"not started: {minutes:g} minutes are over", 0.0, {}))
        else:
            rows.append(run_part(name, device, folder, min(part.deadline_s, left)))
    return rows


def run_part(name: str, device: torch.device, folder: Path, deadline_s: float) -> Row:
    """Run a part in a process, which does not outlive its deadline by more than its grace."""
    command = [sys.executable, "-m", "benchmarks.gpu_check", "--inside", name, "--device", str(device)]
    log, result = folder / f"{_file_name(name)}.log", folder / f"{_file_name(name)}.json"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--folder", str(folder)],
            cwd=ROOT,
            # Into the log: why anything was compiled a second time.
            env=os.environ | {"TORCH_LOGS": "recompiles"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            failed = process.wait(deadline_s) != 0
            outcome = f"failed: {_last_line(log)}" if failed else "ok"
        except subprocess.TimeoutExpired:
            _end(process)
            outcome = f"not done in {deadline_s:.0f} s: {_last_line(log)}"
    figures = json.loads(result.read_text()) if outcome == "ok" else {}
    if any(value.startswith("NO") for value in figures.values()):
        outcome = "not as it must be"
    return Row(name, outcome, time.monotonic() - began, figures)


def table(rows: list[Row]) -> Table:
    """One line for each figure."""
    found = Table(title="what only a GPU shows")
    for column in ("part", "outcome", "seconds", "figure", "value"):
        found.add_column(column, justify="right" if column == "seconds" else "left")
    for row in rows:
        cells = (row.name, row.outcome, f"{row.seconds:.0f}")
        lines = list(row.figures.items()) or [("", "")]
        for number, (figure, value) in enumerate(lines):
            found.add_row(*(cells if number == 0 else ("", "", "")), figure, value)
    return found


def plan(parts: dict[str, Part]) -> Table:
    """The parts, with their deadlines."""
    found = Table(title=f"at most {MINUTES:g} minutes altogether")
    for column in ("part", "at most, s", "GPUs"):
        found.add_column(column, justify="left" if column == "part" else "right")
    for name, part in parts.items():
        found.add_row(name, f"{part.deadline_s:g}", str(part.gpus))
    return found


def main(
    part: Annotated[list[str] | None, typer.Option(help="Run this part; all of them by default.")] = None,
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script itself.")] = "cuda",
    minutes: Annotated[float, typer.Option(help="Bound of all parts together, minutes.")] = MINUTES,
    show_plan: Annotated[bool, typer.Option("--plan", help="Print the parts and end.")] = False,
    folder: Annotated[Path | None, typer.Option(help="For files; a new one by default.")] = None,
    inside: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run what only a GPU can show."""
    console = Console()
    if show_plan:
        console.print(plan(PARTS))
        return
    if unknown := {*(part or ()), *filter(None, [inside])} - PARTS.keys():
        raise typer.BadParameter(f"no such parts: {sorted(unknown)}; --plan lists them")
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: benchmarks.gpu_check needs one; --plan lists its parts", file=sys.stderr)
        raise typer.Exit(NO_GPU)
    where = folder or Path(mkdtemp(prefix="gpu-check-"))
    if inside is not None:
        figures = PARTS[inside].figures(torch.device(device), where)
        (where / f"{_file_name(inside)}.json").write_text(json.dumps(figures))
        return
    rows = check(part or list(PARTS), torch.device(device), where, minutes)
    console.print(table(rows))
    console.print(f"outputs of the parts: {where}", soft_wrap=True)
    raise typer.Exit(int(any(row.outcome != "ok" for row in rows)))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with everything it started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in family:
        if each.is_running():
            each.terminate()
    _, alive = psutil.wait_procs(family, timeout=GRACE_S)
    for each in alive:
        each.kill()
    process.wait()


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it printed nothing"


def _file_name(part: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in part)


if __name__ == "__main__":
    typer.run(main)
