"""`docs/tutorial.md`, followed to the letter: its files are written and its commands run, in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.launching import ROOT, records

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
PACKAGES = ("actors", "cluster", "configs", "data", "learner", "rewards")
FILES = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE))
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]
# These need no Ray and no engine.
LIGHT = [command for command in COMMANDS if re.search(r"make_clips|data\.check|--dry-run", command)]
HELD_OUT = [f"mine_test/{json.loads(line)['id']}" for line in FILES["mine/clips/test.jsonl"].splitlines()]
GPU_LINE = re.findall(r"`(extends: \S+)`", TEXT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the tutorial's files and the environment."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def follow(command: str, project: Path, timeout_s: float = 120) -> str:
    """What a command prints; it must succeed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=environment | {"COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}"
    return done.stdout


def test_everything_of_the_page_is_found() -> None:
    assert len(FILES) == TEXT.count("```") // 2 - TEXT.count("```bash")
    assert len(FILES["mine/clips/train.jsonl"].splitlines()) == 10
    assert [len(LIGHT), len(GPU_LINE)] == [4, 1]


def test_the_page_up_to_the_dry_run(project: Path) -> None:
    clips, lines, both, plan = (follow(command, project) for command in LIGHT)
    assert clips == ""
    assert "mine_test" not in lines
    assert "mine_test" in both
    assert "GRPO, 20 steps" in plan
    wanted = plan.split("Not there yet")[1]
    assert "model.path" in wanted
    assert "data." not in wanted


def test_one_line_changes_for_a_gpu(project: Path) -> None:
    run = project / "mine" / "run.yaml"
    first, rest = run.read_text().split("\n", 1)
    assert first.startswith("extends: ")
    run.write_text(f"{GPU_LINE[0]}\n{rest}")
    follow(LIGHT[0], project)
    plan = follow(LIGHT[-1], project)
    assert "Qwen/Qwen2.5-VL-3B-Instruct" in plan
    assert "data." not in plan.split("Not there yet")[1]


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_whole_page(project: Path) -> None:
    for command in COMMANDS:
        output = follow(command, project, timeout_s=3000)
        if "--config mine/run.yaml" in command and "cluster.launch" in command and "--dry" not in command:
            check_the_run(project / "runs" / "mine")
        if "cluster.grade" in command:
            grades = records(project / "runs" / "mine-grades" / "grades.jsonl")
            assert [grade["n"] for grade in grades] == [8] * 10
    for name in ("mine", "before"):
        asked = records(project / "runs" / f"{name}-evaluation" / "samples.jsonl")
        assert sorted(sample["id"] for sample in asked) == sorted(HELD_OUT)
    assert "mine_test" in output, "the comparison has no row of the dataset"


def check_the_run(run: Path) -> None:
    assert (run / "report.html").stat().st_size > 10_000
    assert list((run / "policy").glob("*.safetensors"))
    assert len(records(run / "metrics.jsonl")) == 20
    asked = {sample["prompt_id"] for sample in records(run / "samples.jsonl")}
    assert len(asked) == 10
    assert all(prompt_id.startswith("mine/") for prompt_id in asked)
