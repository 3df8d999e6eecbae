"""Measures the ways of `benchmarks.learner_ways` at one setting and sets them against each other."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from benchmarks.learner_flops import useful_flops
from benchmarks.learner_setting import Policy, Sizes
from benchmarks.learner_ways import CACHED, IN_TURN, PLAIN, SHARED, Subject


@dataclass(frozen=True)
class Measured:
    """Figures of one way.

    Attributes:
        seconds: Of a step, median.
        peak_bytes: How far a step raises memory above what model, gradients and optimizer take; 0 if not measured.
        tower_calls: Clips through the vision tower in a step.
        flops: Those a step cannot do without, see `benchmarks.learner_flops`.
    """

    seconds: float
    peak_bytes: int
    tower_calls: int
    flops: float


@dataclass(frozen=True)
class Comparison:
    """All ways that were measured.

    Attributes:
        gradient_relative_error: Of the shared prefix against a plain way; None without both.
        without_memory: Ways that ran out of the GPU's memory.
        peak_flops: Of the device, per second; None leaves MFU out.
    """

    policy: Policy
    sizes: Sizes
    ways: dict[str, Measured]
    gradient_relative_error: float | None = None
    without_memory: list[str] = field(default_factory=list)
    peak_flops: float | None = None

    @property
    def baseline(self) -> str | None:
        """All rows at once; where they were not measured, rows in turn."""
        return next((name for name in (PLAIN, IN_TURN) if name in self.ways), None)

    def ratio(self, name: str, baseline: str | None, figure: str) -> float | None:
        """A way's figure over the baseline's; None where either was not measured."""
        if baseline not in self.ways or name not in self.ways or not getattr(self.ways[baseline], figure):
            return None
        return float(getattr(self.ways[name], figure) / getattr(self.ways[baseline], figure))

    def speedup(self, baseline: str | None) -> float | None:
        """How many times as fast the shared prefix is."""
        ratio = self.ratio(SHARED, baseline, "seconds")
        return ratio and 1 / ratio

    def mfu(self, name: str) -> float:
        """Share of the device's peak that a way puts to use."""
        assert self.peak_flops
        return self.ways[name].flops / self.ways[name].seconds / self.peak_flops

    def remarks(self) -> list[str]:
        """What the table does not say."""
        lines = [f"{name}: left out, it does not fit into the GPU's memory" for name in self.without_memory]
        for name, what in ((PLAIN, "all rows at once"), (IN_TURN, "rows in turn")):
            if speedup := self.speedup(name):
                lines.append(f"{speedup:.2f} times as fast as {what}")
        if self.gradient_relative_error is not None:
            error = self.gradient_relative_error
            lines.append(
                f"largest relative error of a parameter's gradient against {self.baseline}: {error:.1e}"
            )
        if self.peak_flops:
            lines.append(
                "MFU: 6 x parameters x tokens + 12 x layers x width x pairs of tokens, each token of prompt, responses "
                f"and clip once, over seconds x {self.peak_flops:.3g}"
            )
        return lines

    def summary(self) -> dict[str, Any]:
        """What `--json` prints; `speedup` and `peak_memory_ratio` are against `baseline`."""
        ways = self.ways
        return {
            "prompt_tokens": self.sizes.prompt,
            "response_tokens": self.sizes.response,
            "group_size": self.sizes.group,
            "device": self.policy.device.type,
            "dtype": str(self.policy.dtype).removeprefix("torch."),
            "baseline": self.baseline,
            "speedup": _rounded(self.speedup(self.baseline)),
            "speedup_over_rows_in_turn": _rounded(self.speedup(IN_TURN)),
            "gradient_relative_error": self.gradient_relative_error,
            "peak_memory_ratio": _rounded(self.ratio(SHARED, self.baseline, "peak_bytes")),
            "peak_memory_ratio_over_rows_in_turn": _rounded(self.ratio(SHARED, IN_TURN, "peak_bytes")),
            "vision_calls_per_prompt": ways[SHARED].tower_calls if SHARED in ways else None,
            "vision_calls_with_warm_cache": ways[CACHED].tower_calls if CACHED in ways else None,
            "mfu": {name: round(self.mfu(name), 4) for name in ways} if self.peak_flops else None,
            "seconds": {name: round(each.seconds, 4) for name, each in ways.items()},
            "peak_mib": {name: round(each.peak_bytes / 2**20) for name, each in ways.items()},
            "did_not_fit": self.without_memory,
        }


def compare(
    policy: Policy,
    sizes: Sizes,
    repeats: int,
    ways: Sequence[str],
    peak_flops: float | None = None,
    memory: bool = True,
) -> Comparison:
    """Measure these ways; on CPU side by side, on a GPU one after the other."""
    together = policy.device.type == "cpu"
    found: dict[str, Measured] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    too_large = []
    for names in [ways] if together else [[name] for name in ways]:
        try:
            found |= _measure(policy, sizes, repeats, names, gradients, memory)
        except torch.OutOfMemoryError:
            too_large += names
        if not together:
            torch.cuda.empty_cache()
    error = gradient_error(gradients[PLAIN], gradients[SHARED]) if len(gradients) == 2 else None
    return Comparison(policy, sizes, found, error, too_large, peak_flops)


def _measure(
    policy: Policy,
    sizes: Sizes,
    repeats: int,
    names: Sequence[str],
    gradients: dict[str, dict[str, Tensor]],
    memory: bool,
) -> dict[str, Measured]:
    """Figures of these ways, whose steps alternate; keeps the gradients of the first plain way and of shared prefix."""
    subjects = [Subject(name, policy, sizes) for name in names]
    calls = {}
    for subject in subjects:
        calls[subject.name] = subject.tower_calls()
        side = PLAIN if subject.name == IN_TURN else subject.name
        if side in (PLAIN, SHARED) and side not in gradients:
            gradients[side] = subject.gradients_on_host()
    rounds = [{subject.name: subject.step() for subject in subjects} for _ in range(repeats)]
    flops = {
        subject.name: useful_flops(
            subject.model, sizes, subject.rows[0].prompt.num_video_tokens, subject.name != CACHED
        )
        for subject in subjects
    }
    peaks = dict.fromkeys(names, 0)
    if memory and policy.device.type == "cuda":
        peaks = {subject.name: _peak_on_device(subject) for subject in subjects}
    del subjects
    if memory and policy.device.type == "cpu":
        peaks = {name: _in_process(name, policy, sizes) for name in names}
    return {
        name: Measured(
            statistics.median(each[name] for each in rounds), peaks[name], calls[name], flops[name]
        )
        for name in names
    }


def gradient_error(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> float:
    """Largest relative error, in norm, of any parameter's gradient.

    Raises:
        ValueError: a parameter has none on one side, or one of zeros.
    """
    if expected.keys() != found.keys():
        raise ValueError(f"only one side has gradients of {sorted(expected.keys() ^ found.keys())}")
    errors = []
    for name, gradient in expected.items():
        its, mine = gradient.double(), found[name].double()
        if not its.norm():
            raise ValueError(f"the gradient of {name} is zero")
        errors.append(float((mine - its).norm() / its.norm()))
    return max(errors)


def _peak_on_device(subject: Subject) -> int:
    """By the CUDA allocator, of a step after others: gradients and optimizer state are there already."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    subject.step()
    return torch.cuda.max_memory_allocated() - before


def peak_of_process(name: str, policy: Policy, sizes: Sizes, threads: int) -> int:
    """By this process's resident memory, which nothing else may have raised before."""
    torch.set_num_threads(threads)
    subject = Subject(name, policy, sizes)
    # Brings up what a process needs once, on the smallest prompt; kept, so that its memory is not the step's to reuse.
    small = Subject(name, policy, Sizes(128, 2, 2))
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


def _in_process(name: str, policy: Policy, sizes: Sizes) -> int:
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(peak_of_process, (name, policy, sizes, torch.get_num_threads()))


def _rounded(ratio: float | None) -> float | None:
    return ratio and round(ratio, 3)
