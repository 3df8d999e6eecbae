"""What one optimizer step costs with the prompt shared, against one row per response.

`python -m benchmarks.learner --prompt-tokens 2048 --response-tokens 128 --group-size 8` compares, in one process and
with the same threads, on one group:

- `row per response`: transformers' own forward pass, G rows of prompt and response side by side, its own SDPA, the
  vision tower once per row, logits of response tokens only, as mainstream trainers do it;
- `rows in turn`: the same, one row at a time with gradients accumulated: slower or as fast, but small;
- `shared prefix`: the learner's own pass;
- `frozen tower, cached`: the same with the clip's features from the cache, as with `learner.freeze_vision`.

Steps alternate, so that other work on the machine meets all alike. Peak memory is that of a process of its own.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Annotated, Any

import psutil
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from benchmarks.learner_setting import Sizes, build_model, make_rows, small_config
from learner.forward import ResponseScorer, TokenScores, lay_out
from learner.frozen_tower import FrozenTower
from learner.losses import micro_batch_loss
from learner.rows import Row, response_positions
from learner.settings import LearnerSettings

SETTINGS = LearnerSettings()
PLAIN, IN_TURN, SHARED, CACHED = "row per response", "rows in turn", "shared prefix", "frozen tower, cached"
WAYS = (PLAIN, IN_TURN, SHARED, CACHED)
CPU = torch.device("cpu")


class PlainScorer(torch.nn.Module):
    """Transformers' forward pass on equally long rows, `logits_to_keep` as trainers use it."""

    def __init__(self, policy: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, rows: Sequence[Row]) -> TokenScores:
        """Scores of all rows' response tokens, response after response."""
        prompt, length = rows[0].prompt, len(rows[0].response)
        responses = torch.tensor([row.response for row in rows])
        tokens = torch.cat([torch.tensor([prompt.token_ids]).expand(len(rows), -1), responses], dim=1)
        positions = torch.cat([prompt.position_ids, response_positions(prompt.position_ids, length)], dim=1)
        logits: Tensor = self.policy(
            input_ids=tokens,
            position_ids=positions[:, None].expand(-1, len(rows), -1),
            pixel_values_videos=prompt.pixel_values_videos.repeat(len(rows), 1),
            video_grid_thw=prompt.video_grid_thw.repeat(len(rows), 1),
            logits_to_keep=length + 1,
            use_cache=False,
        ).logits[:, :-1]
        log_probs = logits.float().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1).detach()
        return TokenScores(log_probs.gather(2, responses[..., None]).flatten(), entropy.flatten())


@dataclass
class Subject:
    """One way of computing the step, with a model and an optimizer of its own."""

    name: str
    rows: Sequence[Row]

    def __post_init__(self) -> None:
        self.model = build_model(small_config()).train()
        if self.name == CACHED:
            self.rows = self._with_features()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6)
        self._tower_calls = 0
        self.model.model.visual.patch_embed.register_forward_hook(self._count)
        self._score: Callable[[Sequence[Row]], TokenScores]
        if self.name in (SHARED, CACHED):
            scorer = ResponseScorer(self.model)
            self._score = lambda rows: scorer(lay_out([rows], CPU))
        else:
            self._score = PlainScorer(self.model)

    def gradients(self) -> float:
        """Forward and backward over the group; returns the loss."""
        self.optimizer.zero_grad()
        parts = [[row] for row in self.rows] if self.name == IN_TURN else [self.rows]
        tokens = sum(len(row.response) for row in self.rows)
        total = 0.0
        for part in parts:
            batch = lay_out([part], CPU)
            loss, _ = micro_batch_loss(
                batch, self._score(part), None, "grpo", SETTINGS, tokens, len(self.rows)
            )
            loss.backward()
            total += float(loss.detach())
        return total

    def step(self) -> float:
        """Seconds of one optimizer step."""
        began = time.perf_counter()
        self.gradients()
        self.optimizer.step()
        return time.perf_counter() - began

    def tower_calls(self) -> int:
        """Clips that the vision tower computes in a step."""
        self._tower_calls = 0
        self.gradients()
        return self._tower_calls

    def _with_features(self) -> list[Row]:
        self.model.model.visual.requires_grad_(False)
        tower = FrozenTower(self.model, cache=None, partitioned=False)
        features = tower.compute(self.rows[0].prompt, "clip")
        return [replace(row, features=features) for row in self.rows]

    def _count(self, _module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
        self._tower_calls += len(inputs[0]) // len(self.rows[0].prompt.pixel_values_videos)


@dataclass(frozen=True)
class Comparison:
    """Figures of one setting; seconds and bytes by way."""

    sizes: Sizes
    seconds: dict[str, float]
    peak_bytes: dict[str, int]
    tower_calls: dict[str, int]
    gradient_relative_error: float

    @property
    def speedup(self) -> float:
        """Against one row per response, all rows at once, as is `peak_memory_ratio`."""
        return self.seconds[PLAIN] / self.seconds[SHARED]

    @property
    def speedup_over_rows_in_turn(self) -> float:
        """Against one row after another, which is the harder comparison in time and the easier one in memory."""
        return self.seconds[IN_TURN] / self.seconds[SHARED]

    @property
    def peak_memory_ratio(self) -> float:
        """Against all rows at once."""
        return self.peak_bytes[SHARED] / self.peak_bytes[PLAIN]

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "prompt_tokens": self.sizes.prompt,
            "response_tokens": self.sizes.response,
            "group_size": self.sizes.group,
            "speedup": round(self.speedup, 3),
            "speedup_over_rows_in_turn": round(self.speedup_over_rows_in_turn, 3),
            "gradient_relative_error": self.gradient_relative_error,
            "peak_memory_ratio": round(self.peak_memory_ratio, 3),
            "vision_calls_per_prompt": self.tower_calls[SHARED],
            "vision_calls_with_warm_cache": self.tower_calls[CACHED],
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "peak_mib": {name: round(value / 2**20) for name, value in self.peak_bytes.items()},
        }


def compare(
    sizes: Sizes, repeats: int, threads: int, ways: Sequence[str] = WAYS, memory: bool = True
) -> Comparison:
    """Measure these ways at one setting; the first and the shared prefix are compared in their gradients."""
    torch.set_num_threads(threads)
    rows = make_rows(small_config(), sizes)
    subjects = [Subject(name, rows) for name in ways]
    error = gradient_error(subjects[0], subjects[ways.index(SHARED)])
    calls = {subject.name: subject.tower_calls() for subject in subjects}
    rounds = [{subject.name: subject.step() for subject in subjects} for _ in range(repeats)]
    seconds = {
        subject.name: statistics.median(found[subject.name] for found in rounds) for subject in subjects
    }
    del subjects
    peaks = {name: _in_process(peak_bytes, name, sizes, threads) if memory else 1 for name in seconds}
    return Comparison(sizes, seconds, peaks, calls, error)


def gradient_error(expected: Subject, found: Subject) -> float:
    """Largest relative error, in norm, of any parameter's gradient."""
    expected.gradients()
    found.gradients()
    its = dict(expected.model.named_parameters())
    errors = []
    for name, parameter in found.model.named_parameters():
        gradient = its[name].grad
        if gradient is None or parameter.grad is None or not gradient.norm():
            raise ValueError(f"{name} has no gradient")
        errors.append(float((parameter.grad - gradient).norm() / gradient.norm()))
    return max(errors)


def peak_bytes(name: str, sizes: Sizes, threads: int) -> int:
    """How far a step raises this process's resident memory above what model, optimizer and rows take."""
    torch.set_num_threads(threads)
    subject = Subject(name, make_rows(small_config(), sizes))
    # Brings up gradients and optimizer state, which belong to neither way, on the smallest prompt.
    small = Subject(name, make_rows(small_config(), Sizes(128, 2, 2)))
    small.step()
    for parameter in subject.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    subject.optimizer.step()
    before = psutil.Process().memory_info().rss
    # Linux: what follows is measured from here (man 5 proc).
    Path("/proc/self/clear_refs").write_text("5")
    subject.step()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 - before


def _in_process(function: Callable[..., int], *arguments: Any) -> int:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _table(comparison: Comparison) -> Table:
    sizes = comparison.sizes
    table = Table(
        title=f"one optimizer step, P = {sizes.prompt}, R = {sizes.response}, G = {sizes.group}, float32, CPU"
    )
    for column in ("", "seconds", "against it", "peak MiB", "against it", "tower calls"):
        table.add_column(column, justify="left" if not column else "right")
    for name, seconds in comparison.seconds.items():
        peak = comparison.peak_bytes[name]
        table.add_row(
            name,
            f"{seconds:.2f}",
            f"{comparison.seconds[PLAIN] / seconds:.2f} x",
            f"{peak / 2**20:.0f}",
            f"{peak / comparison.peak_bytes[PLAIN]:.2f}",
            str(comparison.tower_calls[name]),
        )
    return table


def main(
    prompt_tokens: Annotated[int, typer.Option(help="P, prompt tokens, those of the video included.")] = 2048,
    response_tokens: Annotated[int, typer.Option(help="R, tokens of each response.")] = 128,
    group_size: Annotated[int, typer.Option(help="G, responses to the prompt.")] = 8,
    repeats: Annotated[int, typer.Option(help="Steps of each way; the median counts.")] = 3,
    threads: Annotated[int, typer.Option(help="Torch threads.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Compare one optimizer step on a video prompt, shared prefix against one row per response."""
    comparison = compare(Sizes(prompt_tokens, response_tokens, group_size), repeats, threads)
    console = Console()
    console.print(_table(comparison))
    console.print(
        f"{comparison.speedup:.2f} times as fast as all rows at once, {comparison.speedup_over_rows_in_turn:.2f} times "
        "as fast as rows in turn; largest relative error of a parameter's gradient "
        f"{comparison.gradient_relative_error:.1e}"
    )
    if as_json:
        print(json.dumps(comparison.summary()))


if __name__ == "__main__":
    typer.run(main)
