"""What one optimizer step costs with the prompt shared, against one row per response.

`python -m benchmarks.learner --prompt-tokens 2048 --response-tokens 128 --group-size 8` compares, in one process and
with the same threads, on one group:

- `row per response`: transformers' own forward pass, G rows of prompt and response side by side, its own SDPA, the
  vision tower once per row, logits of response tokens only, as mainstream trainers do it;
- `rows in turn`: the same, one row at a time with gradients accumulated: slower or as fast, but small;
- `shared prefix`: the learner's own pass;
- `frozen tower, cached`: the same with the clip's features from the cache, as with `learner.freeze_vision`.

The tower's attention is the learner's in all four (`benchmarks.learner_ways`). On CPU steps alternate, so that other
work on the machine meets all alike, and peak memory is that of a process of its own. On a GPU, where one model may be
all that fits, the ways are measured one after the other, and one that runs out of memory is left out and named:

`python -m benchmarks.learner --device cuda --model 7b --prompt-tokens 4096 --response-tokens 256`

On CPU nothing can be caught: name the ways that fit, as at P = 8,192 in 24 GiB, `--ways "rows in turn" --ways "shared
prefix"`; `speedup` is then against rows in turn.
"""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    # Run as a file: its own folder, which has a `learner` of its own, gives way to the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
from enum import StrEnum
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.learner_comparison import Comparison, compare
from benchmarks.learner_flops import H200_FLOPS
from benchmarks.learner_setting import Policy, Sizes, large_config, small_config
from benchmarks.learner_ways import IN_TURN, PLAIN, WAYS


class Model(StrEnum):
    """Sizes of the policy."""

    SMALL = "small"
    LARGE = "7b"


# The small one's gradients are compared to rounding error; the large one is trained in what it would be trained in.
CONFIGS = {Model.SMALL: (small_config, torch.float32), Model.LARGE: (large_config, torch.bfloat16)}


def table(comparison: Comparison) -> Table:
    """Figures and ratios, both against all rows at once and against rows in turn, as far as they were measured."""
    policy, sizes = comparison.policy, comparison.sizes
    found = Table(
        title=f"one optimizer step, P = {sizes.prompt}, R = {sizes.response}, G = {sizes.group}, "
        f"{str(policy.dtype).removeprefix('torch.')}, {policy.device.type}"
    )
    columns = ["", "seconds", "against all at once", "in turn", "peak MiB", "against all at once", "in turn"]
    for column in [*columns, "tower calls", *(["MFU"] if comparison.peak_flops else [])]:
        found.add_column(column, justify="left" if not column else "right")
    for name, measured in comparison.ways.items():
        peak = f"{measured.peak_bytes / 2**20:.0f}" if measured.peak_bytes else "-"
        cells = [name, f"{measured.seconds:.2f}", *_ratios(comparison, name, "seconds"), peak]
        cells += [*_ratios(comparison, name, "peak_bytes"), str(measured.tower_calls)]
        found.add_row(*cells, *([f"{comparison.mfu(name):.1%}"] if comparison.peak_flops else []))
    return found


def _ratios(comparison: Comparison, name: str, figure: str) -> list[str]:
    """How many times as fast, or which share of the memory, against both plain ways."""
    cells = []
    for baseline in (PLAIN, IN_TURN):
        ratio = comparison.ratio(name, baseline, figure)
        if not ratio:
            cells.append("-")
        else:
            cells.append(f"{1 / ratio:.2f} x" if figure == "seconds" else f"{ratio:.2f}")
    return cells


def main(
    prompt_tokens: Annotated[int, typer.Option(help="P, prompt tokens, those of the video included.")] = 2048,
    response_tokens: Annotated[int, typer.Option(help="R, tokens of each response.")] = 128,
    group_size: Annotated[int, typer.Option(help="G, responses to the prompt.")] = 8,
    model: Annotated[
        Model, typer.Option(help="21 M parameters in float32, or Qwen2.5-VL-7B in bfloat16.")
    ] = (Model.SMALL),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    checkpointing: Annotated[bool, typer.Option(help="Recompute activations in the backward pass.")] = False,
    ways: Annotated[list[str] | None, typer.Option(help="Which ways; all of them by default.")] = None,
    peak_flops: Annotated[
        float | None, typer.Option(help="Of the device, per second; on a GPU an H200's in bfloat16.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Steps of each way; the median counts.")] = 3,
    memory: Annotated[
        bool, typer.Option(help="Peak memory too; on CPU each way takes one step more for it.")
    ] = True,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Compare one optimizer step on a video prompt, shared prefix against one row per response."""
    if unknown := set(ways or ()) - set(WAYS):
        raise typer.BadParameter(f"no such ways: {sorted(unknown)}; there are {', '.join(WAYS)}")
    torch.set_num_threads(threads)
    make_config, dtype = CONFIGS[model]
    policy = Policy(make_config(), dtype, torch.device(device), checkpointing)
    comparison = compare(
        policy,
        Sizes(prompt_tokens, response_tokens, group_size),
        repeats,
        ways or WAYS,
        peak_flops or (H200_FLOPS if device == "cuda" else None),
        memory,
    )
    console = Console()
    console.print(table(comparison))
    for line in comparison.remarks():
        console.print(line)
    if as_json:
        print(json.dumps(comparison.summary()))


if __name__ == "__main__":
    typer.run(main)
