"""The Python that printed commands begin with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = "from cluster.records.interpreter import interpreter; print(interpreter())"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The folder of programs of an environment; `elsewhere` is that of another one of the same Python."""
    for name in (".venv", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "python").symlink_to(os.path.realpath(sys.executable))
    return tmp_path / ".venv"


def said(environment: Path, working_folder: Path, path: str) -> str:
    called = [str(environment / "python"), "-c", CODE]
    variables = {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(called, cwd=working_folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_activated_environment_is_python(environment: Path) -> None:
    assert said(environment, environment.parent, f"{environment}:/usr/bin") == "python"


@pytest.mark.parametrize("first", ["elsewhere", "nothing"])
def test_without_one_it_is_a_path_that_works_from_here(environment: Path, first: str) -> None:
    path = str(environment.parent / first)
    assert said(environment, environment.parent, path) == ".venv/python"
    assert said(environment, environment.parent / "elsewhere", path) == str(environment / "python")
