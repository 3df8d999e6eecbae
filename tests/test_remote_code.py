"""Code that comes with a policy is never run, and nobody is asked at a terminal whether it may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from actors.engine import EngineSettings, engine_arguments

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("actors", "benchmarks", "cluster", "data", "learner", "rewards", "scripts")
# What loads a model, a processor or a configuration by its path, and engines by their arguments.
LOADERS = {"from_pretrained", "from_config", "LLM"}
OURS = {"MropeLayout"}


def calls(path: Path) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def loads(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute):
        owner = function.value.id if isinstance(function.value, ast.Name) else ""
        return function.attr in LOADERS and owner not in OURS
    return isinstance(function, ast.Name) and function.id in LOADERS


def refuses(call: ast.Call) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "trust_remote_code"]
    return [ast.unparse(value) for value in given] == ["False"]


def test_every_loader_refuses_remote_code() -> None:
    found = [
        (path, call)
        for name in FOLDERS
        for path in sorted((ROOT / name).rglob("*.py"))
        for call in calls(path)
    ]
    loading = [(path, call) for path, call in found if loads(call)]
    assert len(loading) >= 6
    trusting = [f"{path.relative_to(ROOT)}:{call.lineno}" for path, call in loading if not refuses(call)]
    assert trusting == []


def test_nothing_trusts() -> None:
    texts = {path: path.read_text() for name in FOLDERS for path in (ROOT / name).rglob("*.py")}
    assert [path for path, text in texts.items() if "trust_remote_code=True" in text] == []


@pytest.mark.parametrize("use_gpu", [False, True])
def test_an_engine_refuses_it(use_gpu: bool) -> None:
    settings = EngineSettings(model_path="owner/name", use_gpu=use_gpu)
    assert engine_arguments(settings)["trust_remote_code"] is False
