"""A look at reward functions of the user's own finds what is missing, and runs nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cluster.planning.custom_rewards import custom_reward_problem
from cluster.planning.existence import missing_things
from data.schema import Task
from tests.cluster.fakes import make_config

MODULE = """
from pathlib import Path
Path({mark!r}).touch()
import math as m
from os.path import join
if m:
    def chosen(): ...
else:
    other: int = 1
try:
    from a import b
except ImportError:
    b, (c, *d) = None, (1, 2)
match m:
    case _:
        matched = 1
def function():
    inner = 1
class Reward: ...
"""


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that would appear if anything in the packages here was run."""
    mark = tmp_path / "was-run"
    text = MODULE.format(mark=str(mark))
    for name in ("flat.py", "package/__init__.py", "package/inner.py", "bare/deep/inner.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "starred.py").write_text("from flat import *")
    (tmp_path / "asked.py").write_text("def __getattr__(name): ...")
    (tmp_path / "torn.py").write_text("def function(:")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return mark


@pytest.mark.parametrize("module", ["flat", "package", "package.inner", "bare.deep.inner"])
def test_what_a_module_binds_is_found(mark: Path, module: str) -> None:
    for name in ("function", "Reward", "m", "join", "chosen", "other", "b", "c", "d", "matched"):
        assert custom_reward_problem("tracking", f"{module}.{name}") is None, name
    for name in ("inner_", "inner", "math", "os"):
        problem = custom_reward_problem("tracking", f"{module}.{name}")
        assert problem and f"defines no {name!r}" in problem
    assert not mark.exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("function", "not of the form package.module.function"),
        ("flat.", "not of the form"),
        ("a b.c", "not of the form"),
        ("absent.function", "there is no module 'absent'"),
        ("package.absent.function", "there is no module 'package.absent'"),
        ("flat.function.inner", "there is no module 'flat.function'"),
        ("bare.absent.deep.function", "there is no module 'bare.absent"),
        ("torn.function", "torn.py cannot be read"),
    ],
)
def test_what_is_not_there_is_named(mark: Path, path: str, why: str) -> None:
    problem = custom_reward_problem("tracking", path)
    assert problem and problem.startswith("reward.custom.tracking: ") and why in problem
    assert not mark.exists()


@pytest.mark.parametrize(
    "path", ["starred.any", "asked.any", "os.path.join", "math.sqrt", "rewards.score_response"]
)
def test_what_only_running_tells_is_left_to_the_run(mark: Path, path: str) -> None:
    assert custom_reward_problem("tracking", path) is None


def test_a_dry_run_imports_nothing_and_a_start_does(mark: Path) -> None:
    config = make_config(reward={"custom": {Task.TRACKING: "package.inner.function"}})
    assert list(missing_things(config, only_look=True)) == []
    assert not mark.exists()
    assert list(missing_things(config)) == []
    assert mark.exists()


@pytest.mark.parametrize("text", ["x = " + "-" * 200_000 + "1", "x = a" + ".b" * 200_000, "x = " + "(" * 300])
def test_a_module_that_is_too_deep_to_parse_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "too_deep.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    problem = custom_reward_problem("tracking", "too_deep.x")
    assert problem is not None and "too_deep.py cannot be read: " in problem
