"""Whole runs by the launch command: Ray, vLLM, DeepSpeed with ZeRO-3, real videos; two workers of every kind.

One run serves most tests. A second one like it, of the slow tests, is interrupted and resumed: it must end up the same.
"""

from __future__ import annotations

import json
import math
from itertools import groupby
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from cluster.config import RunConfig
from cluster.records.interpreter import interpreter
from tests.e2e.footage import DAMAGED, LATE, REWARDS, TOO_LONG, good_ids
from tests.e2e.launching import (
    STEPS,
    Finished,
    Launched,
    curve,
    launch,
    left_behind,
    prompt_ids,
    records,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MISMATCH_BOUND = 1.0001


@pytest.fixture(scope="module")
def interrupted(runs_folder: Path, arguments: list[str]) -> Launched:
    """The same run in another folder, at its third step; the checkpoint is behind the second.

    wandb is on, as it is by default: closing it takes time.
    """
    run = launch(runs_folder, "again", *arguments, "logging.wandb_mode=offline")
    run.wait_for_step(3, 600)
    return run


def steps(run_dir: Path) -> list[dict[str, Any]]:
    return records(run_dir / "metrics.jsonl")


def samples(run_dir: Path) -> list[dict[str, Any]]:
    return records(run_dir / "samples.jsonl")


def test_it_leaves_what_it_promises_and_no_process(finished: Finished) -> None:
    assert {path.name for path in finished.run_dir.iterdir()} >= {
        "config.yaml",
        "facts.json",
        "metrics.jsonl",
        "samples.jsonl",
        "eval_cold_start.jsonl",
        "eval_grpo.jsonl",
        "results.json",
        "report.html",
        "checkpoints",
        "policy",
    }
    assert finished.left == []
    fields = yaml.safe_load((finished.run_dir / "config.yaml").read_text())
    assert RunConfig.model_validate(fields, strict=False).learner.zero_stage == 3
    checkpoints = sorted(path.name for path in (finished.run_dir / "checkpoints").glob("step-*"))
    assert checkpoints == ["step-00000004", "step-00000005"]
    assert "held-when-0" in (finished.run_dir / "report.html").read_text()


def test_rollout_and_learner_agree_at_every_step(finished: Finished) -> None:
    """On clips of several lengths, shapes and frame rates, which the learner updates on as it goes."""
    found = steps(finished.run_dir)
    assert [r["step"] for r in found] == list(range(1, STEPS + 1))
    assert all(1 <= r["mismatch"] <= MISMATCH_BOUND for r in found)
    assert all(r["grad_norm"] > 0 and r["learning_rate"] > 0 and r["entropy"] > 0 for r in found)
    assert all(r["staleness_max"] == 0 for r in found)
    assert all(seconds >= 0 for r in found for seconds in r["seconds"].values())


def test_every_response_has_its_own_score_and_advantage(finished: Finished) -> None:
    """Rewards swapped between two prompts, or advantages off by one response, do not come out right here."""
    for (_, name), found in groupby(samples(finished.run_dir), key=lambda s: (s["step"], s["prompt_id"])):
        group = list(found)
        assert [s["index"] for s in group] == [0, 1, 2, 3]
        totals = [expected_reward(s["task"], s["response"]) for s in group]
        assert [s["total"] for s in group] == pytest.approx(totals), name
        spread = stdev(totals) + 1e-4
        advantages = [(total - fmean(totals)) / spread for total in totals]
        assert [s["advantage"] for s in group] == pytest.approx(advantages, abs=1e-3), name


def expected_reward(task: str, response: str) -> float:
    try:
        return REWARDS[task](task, response, {}, 1.0)
    except KeyError:
        return 0.0


def test_every_response_is_of_the_weights_before_its_step(finished: Finished) -> None:
    for sample in samples(finished.run_dir):
        assert sample["weight_versions"] == [[0, sample["tokens"], sample["step"] - 1]]


def test_damaged_clips_and_long_prompts_are_skipped_counted_and_shown(
    finished: Finished, dataset: Path
) -> None:
    """The steps go through the dataset more than once, so each of the four is met."""
    used = {name for names in prompt_ids(finished.run_dir).values() for name in names}
    assert used == good_ids(dataset)
    assert sum(r["clips_skipped"] for r in steps(finished.run_dir)) >= len(DAMAGED) + 2
    assert steps(finished.run_dir)[-1]["clips_quarantined"] == len(DAMAGED) + 1  # a held-out one too
    for name in DAMAGED:
        assert f"warning: skipped {dataset.parent / name}.mp4: " in finished.output
    assert f"warning: skipped prompt {LATE}: target interval " in finished.output
    assert "lies outside the clip of 3 s, as " in finished.output
    assert f"warning: skipped prompt {TOO_LONG}: 1" in finished.output
    assert "tokens with its clip, rollout.max_prompt_tokens allows 256" in finished.output
    assert "prompts skipped" in finished.output


def test_a_custom_reward_that_raises_costs_its_response_only(finished: Finished) -> None:
    failed = [s for s in samples(finished.run_dir) if (s["reason"] or "").startswith("custom reward raised")]
    assert failed
    assert all((s["total"], s["task"]) == (0, "multiple_choice") for s in failed)
    assert "no such mood" in failed[0]["reason"]
    assert sum(r["rewards_failed"] for r in steps(finished.run_dir)) == len(failed)
    assert "rewards failed" in finished.output


def test_the_results_file_has_exactly_what_programs_expect(finished: Finished) -> None:
    tasks = json.loads((finished.run_dir / "results.json").read_text())["tasks"]
    assert set(tasks) == set(REWARDS)
    for task in tasks.values():
        for stage in ("cold_start", "grpo"):
            assert set(task[stage]) == {"mean", "low", "high"}
            assert 0 <= task[stage]["low"] <= task[stage]["mean"] <= task[stage]["high"] <= 100
        assert task["constant"] == pytest.approx(100)
        assert task["clips"] == 2
    assert "Held-out results" in finished.output
    assert str(finished.run_dir / "report.html") in finished.output


def test_held_out_answers_are_scored_by_rule(finished: Finished) -> None:
    """A custom reward is for training; what is reported under a metric's name is that metric."""
    for sample in records(finished.run_dir / "eval_grpo.jsonl"):
        damaged = sample["prompt"]["id"] == "held-what-1"
        assert (sample["score"] is None) == damaged
        assert damaged == ("empty" in (sample["problem"] or ""))
        if sample["score"]:
            assert set(sample["score"]["rewards"]) == (
                {"format", "iou"} if "when" in sample["prompt"]["id"] else {"format", "accuracy"}
            )


def test_the_policy_is_a_checkpoint_that_transformers_loads_and_is_not_the_one_it_began_with(
    finished: Finished, tiny_policy: str
) -> None:
    """That vLLM loads it is shown by the runs of `test_killed.py`, which start from such a folder."""
    folder = finished.run_dir / "policy"
    weights = folder / "model.safetensors"
    with safe_open(weights, framework="pt") as file:
        assert len(list(file.keys())) > 10
    AutoProcessor.from_pretrained(folder)
    before, after = (
        Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
        for path in (tiny_policy, folder)
    )
    moved = [
        float((new - old).abs().max().detach())
        for old, new in zip(before.parameters(), after.parameters(), strict=True)
        if new.numel()
    ]
    assert max(moved) > 0
    assert all(math.isfinite(distance) and distance < 0.1 for distance in moved)


@pytest.mark.slow
def test_ctrl_c_ends_it_within_seconds_and_leaves_no_process(interrupted: Launched) -> None:
    processes = interrupted.family()
    assert len(processes) > 10
    interrupted.interrupt()
    assert interrupted.wait(120) == 130, interrupted.output()
    assert left_behind(processes) == []
    assert f"Interrupted. Resume with: {interpreter()} -m cluster.launch" in interrupted.output()
    assert "--resume" in interrupted.output().splitlines()[-1]
    assert (interrupted.run_dir / "policy" / "model.safetensors").exists()
    assert "Traceback" not in interrupted.output()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_curve_twice(finished: Finished, interrupted: Launched) -> None:
    """To the last digit: rewards, losses, gradients, and every response."""
    again = curve(interrupted.run_dir)
    assert len(again) >= 3
    assert again == curve(finished.run_dir)[: len(again)]
    texts, others = (
        [(s["prompt_id"], s["response"]) for s in samples(run.run_dir) if s["step"] <= 3]
        for run in (finished, interrupted)
    )
    assert texts == others


@pytest.mark.slow
def test_a_resumed_run_goes_on_at_the_exact_prompt_and_ends_the_same(
    finished: Finished, interrupted: Launched, runs_folder: Path, arguments: list[str]
) -> None:
    resumed = launch(runs_folder, "again", *arguments, "--resume")
    assert resumed.wait(600) == 0, resumed.output()
    assert f"== GRPO: {STEPS}, " in resumed.output()
    assert prompt_ids(resumed.run_dir) == prompt_ids(finished.run_dir)
    assert curve(resumed.run_dir) == curve(finished.run_dir)
    assert len(samples(resumed.run_dir)) == len(samples(finished.run_dir))
    results, expected = (
        json.loads((run.run_dir / "results.json").read_text()) for run in (resumed, finished)
    )
    assert results == expected
