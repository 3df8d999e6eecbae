"""Evaluation by its command: real Ray, vLLM and videos; called again, and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.footage import UNUSABLE, good_ids
from tests.e2e.launching import ROOT, Launched, launch, left_behind, records

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]


def evaluate(folder: Path, dataset: Path, *arguments: str) -> Launched:
    entry = f"data.eval_datasets=[{{name: mine, format: jsonl, annotations: {dataset}}}]"
    return launch(folder, "judged", entry, *arguments, module="cluster.evaluate")


@pytest.fixture(scope="module")
def folder(runs_folder: Path) -> Path:
    return runs_folder / "judged-evaluation"


@pytest.fixture(scope="module")
def samples(runs_folder: Path, folder: Path, dataset: Path, tiny_policy: str) -> dict[str, dict[str, Any]]:
    run = evaluate(runs_folder, dataset, f"--checkpoint={tiny_policy}")
    run.wait_until(lambda: "== evaluation" in run.output(), 300, "the first prompts")
    processes = run.family()
    assert run.wait(600) == 0, run.output()
    assert left_behind(processes) == []
    assert "mine, Temporal grounding" in run.output()
    return {line["id"].removeprefix("mine/"): line for line in records(folder / "samples.jsonl")}


def test_every_prompt_has_a_score_or_a_reason(samples: dict[str, dict[str, Any]], dataset: Path) -> None:
    assert set(samples) == good_ids(dataset) | UNUSABLE
    assert {name for name, line in samples.items() if line["score"]} == good_ids(dataset)
    for name in UNUSABLE:
        assert (samples[name]["response"], samples[name]["score"]) == ("", None)
        assert samples[name]["reason"]
    assert all(line["tokens"] and line["asked"] for line in samples.values() if line["score"])


def test_everything_is_counted_and_shown(samples: dict[str, dict[str, Any]], folder: Path) -> None:
    tables = {table["task"]: table for table in json.loads((folder / "results.json").read_text())["tasks"]}
    assert {task: table["samples"] for task, table in tables.items()} == {
        "temporal_grounding": 9,
        "multiple_choice": 7,
    }
    unanswered = [
        one for table in tables.values() for one in table["failures"] if one["kind"] == "unanswered"
    ]
    assert sum(one["count"] for one in unanswered) == len(UNUSABLE)
    page = (folder / "report.html").read_text()
    assert "data:image/jpeg;base64," in page
    assert "tokens with its clip" in page


def test_a_second_call_asks_only_what_could_not_be_used(
    samples: dict[str, dict[str, Any]], runs_folder: Path, folder: Path, dataset: Path, tiny_policy: str
) -> None:
    again = evaluate(runs_folder, dataset, f"--checkpoint={tiny_policy}")
    assert again.wait(600) == 0, again.output()
    assert f"{len(samples) - len(UNUSABLE)} done before" in again.output()
    lines = {line["id"].removeprefix("mine/"): line for line in records(folder / "samples.jsonl")}
    assert lines == samples


def test_the_same_answers_as_predictions_score_the_same(
    samples: dict[str, dict[str, Any]], runs_folder: Path, folder: Path, dataset: Path
) -> None:
    path = runs_folder / "answers.jsonl"
    answered = [{"id": name, "response": one["response"]} for name, one in samples.items() if one["score"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in answered))
    run = evaluate(runs_folder, dataset, f"--predictions={path}", "run.name=elsewhere")
    assert run.wait(300) == 0, run.output()
    other = runs_folder / "elsewhere-evaluation"
    scores = {line["id"].removeprefix("mine/"): line["score"] for line in records(other / "samples.jsonl")}
    assert scores == {name: line["score"] for name, line in samples.items()}
    compared = [sys.executable, "-m", "cluster.compare", str(folder), str(other)]
    refused = subprocess.run(compared, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert refused.returncode == 1
    assert 'decoding.temperature: 0.0 -> "not known"' in refused.stderr
    shown = subprocess.run([*compared, "--anyway"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr
    assert "+0.00 [+0.00, +0.00]" in shown.stdout
