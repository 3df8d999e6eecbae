"""Captions judged by a server beside letters with T-GRPO's bonus: a whole run from annotations, resumed, evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewards.measures import harmonic_mean
from tests.actors.judge_server import JudgeServer, question, serving
from tests.e2e.footage import SHAPES, annotation, choice
from tests.e2e.launching import Finished, launch, left_behind, records

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]

# Few tokens of the tiny policy, which learns to say some of it before it is rewarded for it.
CAPTIONS = ("red circle. blue square", "green square. red circle")
HELD_OUT = 2


def lines(first: int, count: int) -> list[dict[str, Any]]:
    """Two prompts about each of so many of the footage's good clips."""
    found = []
    for number in range(first, first + count):
        frames, fps, _, _ = SHAPES[number]
        name, seconds = f"clip-{number}.mp4", float(frames / fps)
        caption = CAPTIONS[number % 2]
        target = {"caption": caption, "events": caption.split(". ")}
        found += [
            annotation(f"tell-{number}", "captioning", name, "What is seen?", seconds, target),
            choice(f"which-{number}", name, seconds),
        ]
    return found


def write(path: Path, annotations: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in annotations), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def arguments(dataset: Path, server: JudgeServer) -> list[str]:
    folder, last = dataset.parent, len(SHAPES) - HELD_OUT
    return [
        f"data.source={write(folder / 'told.jsonl', lines(0, last))}",
        f"data.eval_source={write(folder / 'held-out-told.jsonl', lines(last, HELD_OUT))}",
        *("data.num_prompts=null", "data.template=direct", "data.tasks={captioning: 1, multiple_choice: 1}"),
        *("cold_start.think_steps=0", "cold_start.max_steps=120", "cold_start.check_every=20"),
        *("cold_start.batch_size=8", "cold_start.probe_prompts=8"),
        *(f"judge.base_url={server.url}", "judge.model=m", "judge.requests_per_minute=6000"),
        *("reward.timeout_s=300", "reward.shuffle_bonus={multiple_choice: 0.3}"),
        *("grpo.steps=2", "checkpoint.every_steps=1", "rollout.max_response_tokens=32"),
    ]


@pytest.fixture(scope="module")
def finished(runs_folder: Path, arguments: list[str], server: JudgeServer) -> Finished:
    run = launch(runs_folder, "told", *arguments)
    run.wait_for_step(1, 900)
    processes = run.family()
    assert run.wait(600) == 0, run.output()
    return Finished(run.run_dir, run.output(), left_behind(processes))


def test_the_server_judges_what_the_policy_says(finished: Finished, server: JudgeServer) -> None:
    assert finished.left == []
    steps = records(finished.run_dir / "metrics.jsonl")
    assert [step["step"] for step in steps] == [1, 2]
    assert 0 < steps[0]["judge_requests"] <= steps[1]["judge_requests"] <= len(server.requests)
    assert steps[1]["judge_unreadable"] == steps[1]["judge_fallbacks"] == 0
    asked = {question(body)["description"] for body in server.requests}
    told = [s for s in records(finished.run_dir / "samples.jsonl") if s["task"] == "captioning"]
    for sample in told:
        if sample["rewards"]["format"]:
            said = sample["response"].strip().removeprefix("<answer>").removesuffix("</answer>").strip()
            assert said in asked
            events = CAPTIONS[int(sample["prompt_id"][-1]) % 2].split(". ")
            assert sample["rewards"]["recall"] == sum(event in said for event in events) / 2
    assert any(sample["rewards"]["format"] for sample in told)


def test_letters_are_compared_with_those_on_shuffled_frames(finished: Finished) -> None:
    steps = records(finished.run_dir / "metrics.jsonl")
    compared = [step for step in steps if step["accuracy_shuffled"] is not None]
    assert compared
    assert all(
        0 <= step[name] <= 1 for step in compared for name in ("accuracy_shuffled", "accuracy_ordered")
    )


def test_a_resumed_run_asks_the_judge_nothing_new(
    finished: Finished, runs_folder: Path, arguments: list[str], server: JudgeServer
) -> None:
    before = len(server.requests)
    again = launch(runs_folder, "told", *arguments, "--resume")
    assert again.wait(900) == 0, again.output()
    assert len(server.requests) == before


def test_captions_are_evaluated_by_recall_precision_and_f1(
    finished: Finished, runs_folder: Path, arguments: list[str]
) -> None:
    policy = f"--checkpoint={finished.run_dir}"
    run = launch(runs_folder, "told", *arguments, policy, module="cluster.evaluate")
    assert run.wait(600) == 0, run.output()
    tables = json.loads((runs_folder / "told-evaluation" / "results.json").read_text())["tasks"]
    assert {table["task"]: table["samples"] for table in tables} == {"captioning": 2, "multiple_choice": 2}
    (found,) = (table["figures"] for table in tables if table["task"] == "captioning")
    figures = {figure["name"]: figure["value"]["mean"] for figure in found}
    assert list(figures) == ["recall", "precision", "F1"]
    assert figures["F1"] == pytest.approx(harmonic_mean(figures["recall"], figures["precision"]), abs=0.01)
