"""The learner's benchmark on a tiny policy: what it compares is the same step, and its figures follow from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLConfig

from benchmarks import learner_comparison
from benchmarks.learner import table
from benchmarks.learner_comparison import Comparison, Measured, compare
from benchmarks.learner_flops import useful_flops
from benchmarks.learner_setting import Policy, Sizes
from benchmarks.learner_ways import CACHED, IN_TURN, PLAIN, SHARED, WAYS, Subject

SIZES = Sizes(prompt=160, response=5, group=3)


@pytest.fixture(scope="module")
def policy(policy_folder: Path) -> Policy:
    return Policy(Qwen2_5_VLConfig.from_pretrained(policy_folder))


def test_all_ways_take_the_same_step(policy: Policy) -> None:
    found = compare(policy, SIZES, repeats=1, ways=WAYS, memory=False)
    assert {name: each.tower_calls for name, each in found.ways.items()} == {
        PLAIN: 3,
        IN_TURN: 3,
        SHARED: 1,
        CACHED: 0,
    }
    assert found.gradient_relative_error is not None
    assert found.gradient_relative_error < 1e-4
    assert found.speedup(PLAIN) == pytest.approx(found.ways[PLAIN].seconds / found.ways[SHARED].seconds)


def test_half_precision_and_recomputation_run_as_well(policy: Policy) -> None:
    half = replace(policy, dtype=torch.bfloat16, checkpointing=True)
    found = compare(half, SIZES, repeats=1, ways=[IN_TURN, SHARED], memory=False)
    assert found.gradient_relative_error is not None
    assert 1e-4 < found.gradient_relative_error < 0.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_measures_all_ways(policy: Policy) -> None:
    on_gpu = replace(policy, dtype=torch.bfloat16, device=torch.device("cuda"))
    found = compare(on_gpu, SIZES, repeats=1, ways=WAYS, peak_flops=1e15)
    assert list(found.ways) == list(WAYS)
    assert all(each.peak_bytes > 0 for each in found.ways.values())


def test_useful_operations_are_those_of_the_shared_step(policy: Policy) -> None:
    """Every product of the shared prefix is useful, and of all rows the lesser part; attention goes by its formula."""
    counted = {}
    for name in (PLAIN, SHARED):
        subject = Subject(name, policy, SIZES)
        with FlopCounterMode(display=False) as counter:
            subject.gradients()
        products = counter.get_flop_counts()["Global"]
        counted[name] = sum(count for kind, count in products.items() if "attention" not in str(kind))
    video = subject.rows[0].prompt.num_video_tokens
    attention = 12 * 2 * 64 * (160**2 / 2 + 15 * (160 + 5 / 2))
    linear = useful_flops(subject.model, SIZES, video, tower=True) - attention
    # The pixels need no gradient, which is a fifth of all in so small a model.
    pixels = 2 * 4 * video * subject.model.model.visual.patch_embed.proj.weight.numel()
    assert counted[SHARED] == pytest.approx(linear - pixels, rel=0.03)
    assert counted[PLAIN] > 2 * linear
    assert useful_flops(subject.model, SIZES, video, tower=False) < linear


def comparison(policy: Policy, **seconds: float) -> Comparison:
    names = {"plain": PLAIN, "in_turn": IN_TURN, "shared": SHARED}
    ways = {
        names[key]: Measured(value, round(value * 1000), 1, flops=100.0) for key, value in seconds.items()
    }
    return Comparison(policy, SIZES, ways, peak_flops=1000.0)


def test_both_ratios_are_shown(policy: Policy) -> None:
    found = comparison(policy, plain=8.0, in_turn=6.0, shared=2.0)
    summary = found.summary()
    assert (summary["speedup"], summary["speedup_over_rows_in_turn"]) == (4.0, 3.0)
    assert (summary["peak_memory_ratio"], summary["peak_memory_ratio_over_rows_in_turn"]) == (0.25, 0.333)
    assert summary["mfu"][SHARED] == 0.05
    assert "4.00 x │ 3.00 x │" in _printed(found)
    assert "0.25 │" in _printed(found) and "0.33 │" in _printed(found)


def test_without_all_rows_at_once_the_speedup_is_against_rows_in_turn(policy: Policy) -> None:
    found = comparison(policy, in_turn=6.0, shared=2.0)
    summary = found.summary()
    assert (summary["baseline"], summary["speedup"]) == (IN_TURN, 3.0)
    assert json.loads(json.dumps(summary)) == summary
    assert "- │ 3.00 x │" in _printed(found)


def test_a_way_that_runs_out_of_memory_is_named(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(policy: Policy, sizes: Sizes, repeats: int, names: list[str], *_: Any) -> dict[str, Measured]:
        if names == [PLAIN]:
            raise torch.OutOfMemoryError
        return {name: Measured(1.0, 1, 1, 1.0) for name in names}

    monkeypatch.setattr(learner_comparison, "_measure", measure)
    found = compare(replace(policy, device=torch.device("cuda")), SIZES, 1, WAYS)
    assert list(found.ways) == [IN_TURN, SHARED, CACHED]
    assert found.remarks()[0] == f"{PLAIN}: left out, it does not fit into the GPU's memory"
    assert found.summary()["did_not_fit"] == [PLAIN]


def _printed(found: Comparison) -> str:
    console = Console(width=200, record=True)
    console.print(table(found))
    return " ".join(console.export_text().split())
