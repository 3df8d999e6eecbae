"""Workers find the programs of their own environment whatever PATH they were given."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from actors.engine import EngineSettings, prepare_environment
from data.tools_path import put_own_programs_first

BIN = str(Path(sys.executable).parent)


def test_ninja_is_found_without_an_activated_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    put_own_programs_first()
    put_own_programs_first()
    assert os.environ["PATH"] == f"{BIN}:/usr/bin:/bin"
    assert shutil.which("ninja") == f"{BIN}/ninja"


def test_an_engine_looks_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("VLLM", "OMP", "TORCHDYNAMO", "PATH"))]:
        monkeypatch.setenv(name, os.environ[name])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prepare_environment(EngineSettings("model"))
    assert os.environ["PATH"].startswith(f"{BIN}:")
