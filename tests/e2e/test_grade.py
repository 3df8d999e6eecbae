"""Grading by its command: real Ray, vLLM and videos; called again, and trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.footage import UNUSABLE, good_ids
from tests.e2e.launching import Launched, launch, left_behind, records

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

NAMED = "mine"


@pytest.fixture(scope="module")
def arguments(dataset: Path) -> list[str]:
    """The footage as a dataset of a list, with rewards that an untrained policy earns some of."""
    entry = f"{{name: {NAMED}, format: jsonl, annotations: {dataset}}}"
    custom = {"temporal_grounding": "tests.e2e.footage.share_of_low_letters"}
    return [
        f"data.datasets=[{entry}]",
        "data.tasks={temporal_grounding: 1, multiple_choice: 1}",
        f"reward.custom={custom}",
    ]


def grade(folder: Path, policy: str, arguments: list[str]) -> Launched:
    return launch(folder, "graded", *arguments, f"--checkpoint={policy}", module="cluster.grade")


@pytest.fixture(scope="module")
def graded(
    runs_folder: Path, tiny_policy: str, arguments: list[str]
) -> tuple[Launched, list[dict[str, Any]]]:
    run = grade(runs_folder, tiny_policy, arguments)
    run.wait_until(lambda: "== grading" in run.output(), 300, "the first prompts")
    processes = run.family()
    assert run.wait(600) == 0, run.output()
    assert left_behind(processes) == []
    return run, records(runs_folder / "graded-grades" / "grades.jsonl")


def test_every_prompt_has_a_grade_or_a_reason(
    graded: tuple[Launched, list[dict[str, Any]]], dataset: Path
) -> None:
    run, grades = graded
    by_id = {grade["id"].removeprefix(f"{NAMED}/"): grade for grade in grades}
    assert len(by_id) == len(grades)
    assert set(by_id) == good_ids(dataset) | UNUSABLE
    assert {name for name, grade in by_id.items() if grade["n"] == 4} == good_ids(dataset)
    for name in UNUSABLE:
        assert (by_id[name]["n"], by_id[name]["mean"]) == (0, None)
        assert by_id[name]["problem"]
    earned = [grade["mean"] for name, grade in by_id.items() if name.startswith("when")]
    assert len(set(earned)) > 1
    assert "temporal_grounding" in run.output()
    assert "Unusable" in run.output()


def test_a_second_call_asks_only_what_could_not_be_used(
    graded: tuple[Launched, list[dict[str, Any]]],
    runs_folder: Path,
    tiny_policy: str,
    arguments: list[str],
) -> None:
    again = grade(runs_folder, tiny_policy, arguments)
    assert again.wait(600) == 0, again.output()
    assert records(runs_folder / "graded-grades" / "grades.jsonl") == graded[1]
    assert f"{len(graded[1]) - len(UNUSABLE)} done before" in again.output()


def test_a_run_trains_on_the_band_alone(
    graded: tuple[Launched, list[dict[str, Any]]],
    runs_folder: Path,
    tiny_policy: str,
    arguments: list[str],
) -> None:
    difficulties = sorted(grade["difficulty"] for grade in graded[1] if grade["n"])
    low, high = difficulties[1], difficulties[-3]
    run = launch(
        runs_folder,
        "on-the-band",
        *arguments,
        f"model.path={tiny_policy}",
        f"data.grades={runs_folder / 'graded-grades' / 'grades.jsonl'}",
        f"data.difficulty=[{low}, {high}]",
        "curriculum.sampler=difficulty",
        "data.batches=by_task",
        "grpo.steps=2",
    )
    assert run.wait(600) == 0, run.output()
    within = {grade["id"] for grade in graded[1] if grade["n"] and low <= grade["difficulty"] <= high}
    used = {sample["prompt_id"] for sample in records(run.run_dir / "samples.jsonl")}
    assert used <= within
    assert f"{NAMED}: {len(within)} of " in run.output()
    assert f"{len(UNUSABLE)} have no grade and are left out" in run.output()
    for step in records(run.run_dir / "metrics.jsonl"):
        assert len(step["tasks"]) == 1
        assert step["curriculum"]["prompts_known"] == len(difficulties)
