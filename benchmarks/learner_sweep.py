"""How a step's cost grows with the group and with the prompt: `python -m benchmarks.learner_sweep --output docs/`.

Measures `rows in turn` (all rows at once do not fit into memory at long prompts) and `shared prefix` of
`benchmarks.learner` at G from 2 to 32 with P = 2,048, and at P from 256 to 8,192 with G = 8; writes the figures as
`learner_sweep.json` and draws them as `learner_sweep.svg`. Rows in turn are extrapolated: forward and backward of one
row are timed and multiplied by G, and the drawing says so. Takes about ten minutes on two cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: its own folder, which has a `learner` of its own, gives way to the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import matplotlib.pyplot as plt
import torch
import typer
from matplotlib.axes import Axes
from rich.console import Console

from benchmarks.learner_setting import Policy, Sizes, small_config
from benchmarks.learner_ways import IN_TURN, SHARED, Subject

GROUPS = (2, 4, 8, 16, 32)
PROMPTS = (256, 512, 1024, 2048, 4096, 8192)
RESPONSE = 128
LABELS = {IN_TURN: "rows in turn: one row's time, times G", SHARED: SHARED}


def measure(sizes: Sizes, repeats: int) -> dict[str, float]:
    """Median seconds of forward, backward and update, by way."""
    policy = Policy(small_config())
    plain, shared = Subject(IN_TURN, policy, replace(sizes, group=1)), Subject(SHARED, policy, sizes)
    plain.step(), shared.step()
    rounds = [(_seconds_in_turn(plain, sizes.group), shared.step()) for _ in range(repeats)]
    in_turn, together = (statistics.median(each) for each in zip(*rounds, strict=True))
    return {IN_TURN: in_turn, SHARED: together}


def _seconds_in_turn(one_row: Subject, rows: int) -> float:
    began = time.perf_counter()
    one_row.gradients()
    passed = time.perf_counter()
    one_row.optimizer.step()
    return (passed - began) * rows + time.perf_counter() - passed


def sweep(settings: Sequence[Sizes], repeats: int, console: Console) -> list[dict[str, Any]]:
    """One record per setting: its sizes, the seconds of each way and their ratio."""
    records = []
    for sizes in settings:
        seconds = measure(sizes, repeats)
        ratio = seconds[IN_TURN] / seconds[SHARED]
        records.append({**vars(sizes), "seconds": seconds, "ratio": ratio})
        row = f"P {sizes.prompt:5d}  G {sizes.group:2d}  {seconds[IN_TURN]:7.2f} s  {seconds[SHARED]:6.2f} s"
        console.print(f"{row}  {ratio:.1f} x")
    return records


def draw(by_group: Sequence[dict[str, Any]], by_prompt: Sequence[dict[str, Any]], path: Path) -> None:
    """Seconds over G and over P, both ways, with the ratio written at each point."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    _panel(left, by_group, "group", "G, responses per prompt (P = 2,048)")
    _panel(right, by_prompt, "prompt", "P, prompt tokens (G = 8)")
    left.set_ylabel("seconds per optimizer step")
    left.legend(frameon=False)
    figure.suptitle("One optimizer step, 21 M parameters, R = 128, float32, two cores")
    figure.savefig(path)


def _panel(axes: Axes, records: Sequence[dict[str, Any]], key: str, label: str) -> None:
    places = [record[key] for record in records]
    for way, colour in ((IN_TURN, "#888888"), (SHARED, "#1f5fa8")):
        axes.plot(
            places, [record["seconds"][way] for record in records], "o-", color=colour, label=LABELS[way]
        )
    for record in records:
        axes.annotate(
            f"{record['ratio']:.1f} x",
            (record[key], record["seconds"][SHARED]),
            textcoords="offset points",
            xytext=(0, -14),
            ha="center",
            fontsize=8,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(places, [f"{place:,}" for place in places])
    axes.set_xlabel(label)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)


def main(
    output: Annotated[Path, typer.Option(help="Folder for the figures and the drawing.")] = Path("docs"),
    repeats: Annotated[int, typer.Option(help="Steps of each way; the median counts.")] = 3,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
) -> None:
    """Measure and draw."""
    torch.set_num_threads(threads)
    console = Console()
    by_group = sweep([Sizes(2048, RESPONSE, group) for group in GROUPS], repeats, console)
    by_prompt = sweep([Sizes(prompt, RESPONSE, 8) for prompt in PROMPTS], repeats, console)
    (output / "learner_sweep.json").write_text(
        json.dumps({"by_group": by_group, "by_prompt": by_prompt}, indent=1) + "\n"
    )
    draw(by_group, by_prompt, output / "learner_sweep.svg")


if __name__ == "__main__":
    typer.run(main)
