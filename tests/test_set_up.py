"""Set-up: what it decides, what it says when a step fails, what it mends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return load("set_up")


@pytest.fixture
def checkout(set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for the repository, with an environment that looks finished."""
    for name in set_up.DECIDING_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.ruff]\nline-length = 1\n")
    venv = tmp_path / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    (venv / "pyvenv.cfg").write_text("version = 3.11.7")
    for name, value in {
        "ROOT": tmp_path,
        "VENV": venv,
        "PYTHON": venv / "bin" / "python",
        "STAMP": venv / "stamp",
    }.items():
        monkeypatch.setattr(set_up, name, value)
    (venv / "stamp").write_text(set_up.fingerprint("cpu"))
    return tmp_path


def test_a_finished_environment_is_left_alone(set_up: ModuleType, checkout: Path) -> None:
    assert set_up.is_current("cpu")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("constraints.txt", "constraints", "other"),
        ("pyproject.toml", "'x'", "'y'"),
        (".venv/pyvenv.cfg", "3.11", "3.12"),
    ],
)
def test_a_change_that_decides_what_is_installed_is_noticed(
    set_up: ModuleType, checkout: Path, name: str, old: str, new: str
) -> None:
    file = checkout / name
    file.write_text(file.read_text().replace(old, new))
    assert not set_up.is_current("cpu")


def test_a_lint_setting_installs_nothing(set_up: ModuleType, checkout: Path) -> None:
    file = checkout / "pyproject.toml"
    file.write_text(file.read_text().replace("line-length = 1", "line-length = 2"))
    assert set_up.is_current("cpu")


def test_the_other_build_of_vllm_is_another_environment(set_up: ModuleType, checkout: Path) -> None:
    assert not set_up.is_current("gpu")


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", "PyTorch's CPU build"),
        ("WARNING: NewConnectionError\nERROR: ResolutionImpossible: for help", "does not answer"),
        ("ERROR: No matching distribution found for ray==2.60.0", "no package index has"),
        ("ERROR: ResolutionImpossible: for help visit the documentation", "contradict"),
        ("ERROR: Failed building wheel for deepspeed", "did not build"),
        ("ERROR: something new", "something new"),
    ],
)
def test_pip_failures_are_explained(set_up: ModuleType, tail: str, said: str) -> None:
    failure = set_up.pip_failure(tail)
    assert said in failure.why
    assert any(line in failure.why for line in tail.splitlines())
    assert "set-up.log" in failure.advice


def test_a_missing_python_is_named(set_up: ModuleType) -> None:
    with pytest.raises(set_up.SetUpFailed, match=r"no-such-python is not there"):
        set_up.find_python("no-such-python")


def test_a_shim_without_an_interpreter_is_not_python(set_up: ModuleType, tmp_path: Path) -> None:
    shim = tmp_path / "python3.11"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    assert set_up.version_of(str(shim)) is None


def test_a_missing_compiler_is_said_with_what_to_install(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(set_up.SetUpFailed, match=r"no C\+\+ compiler") as failure:
        set_up.check_compiler(sys.executable)
    assert "apt-get install g++" in failure.value.advice


def test_an_index_that_never_answers_costs_three_seconds(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(set_up, "CPU_INDEX", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        start = time.monotonic()
        assert not set_up.cpu_index_answers()
    assert time.monotonic() - start < 10 * set_up.INDEX_PATIENCE_S


@pytest.mark.parametrize(
    ("extra", "reachable", "asked"), [("cpu", True, 1), ("cpu", False, 0), ("gpu", True, 0)]
)
def test_the_cpu_index_is_asked_only_for_cpu_builds_and_when_it_answers(
    set_up: ModuleType, monkeypatch: pytest.MonkeyPatch, extra: str, reachable: bool, asked: int
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(set_up, "cpu_index_answers", lambda: reachable)
    monkeypatch.setattr(set_up, "run_step", lambda command, *_: (commands.append(command), (0, ""))[1])
    set_up.install_packages(extra)
    assert commands[0].count(set_up.CPU_INDEX) == asked


def test_output_goes_to_the_log_and_its_end_comes_back(set_up: ModuleType, tmp_path: Path) -> None:
    code = "import sys; print('first'); print('last', file=sys.stderr); sys.exit(3)"
    status, tail = set_up.run_step([sys.executable, "-c", code], tmp_path / "log", tmp_path, {})
    assert status == 3
    assert tail.splitlines() == ["first", "last"]
    assert "first" in (tmp_path / "log").read_text()


def test_the_command_names_the_step_that_failed(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(SCRIPTS / "set_up.py"),
        "--extra",
        other_extra(),
        "--python",
        "no-such-python",
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "set-up failed while finding Python" in result.stderr
    assert "do:" in result.stderr


def other_extra() -> str:
    """The build that this checkout's environment, if any, does not have: its set-up has to look for Python."""
    stamp = SCRIPTS.parent / ".venv" / "zoetrope-stamp"
    return "gpu" if not stamp.exists() or stamp.read_text().startswith("cpu") else "cpu"


def run_python(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def fake_torchvision(folder: Path) -> Path:
    """A torchvision whose compiled half does not load and whose Python half needs its operators."""
    package = folder / "torchvision"
    package.mkdir()
    (package / "_C.so").write_bytes(b"no library")
    (package / "__init__.py").write_text(
        "import torch\ntorch.library.register_fake('torchvision::nms', print)\n"
    )
    return folder


def without_installed_hook(code: str) -> str:
    """The code in an interpreter that finds modules by Python's own finders only."""
    own = "('_frozen_importlib', '_frozen_importlib_external')"
    return f"import sys; sys.meta_path[:] = [f for f in sys.meta_path if f.__module__ in {own}]; {code}"


def test_the_hook_lets_a_broken_torchvision_import(tmp_path: Path) -> None:
    folder = fake_torchvision(tmp_path)
    plain = run_python(without_installed_hook("import torchvision"), folder)
    assert "torchvision::nms does not exist" in plain.stderr
    hooked = run_python(
        without_installed_hook("import torchvision_schemas as h; h.install(); import torchvision"),
        folder,
        SCRIPTS,
    )
    assert hooked.returncode == 0, hooked.stderr


def test_the_hook_loads_nothing_until_torchvision_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util, torchvision_schemas as h; h.install(); h.install();"
        "importlib.util.find_spec('torchvision'); assert 'torch' not in sys.modules;"
        "assert sum('Torchvision' in type(f).__name__ for f in sys.meta_path) == 1"
    )
    result = run_python(without_installed_hook(code), fake_torchvision(tmp_path), SCRIPTS)
    assert result.returncode == 0, result.stderr


def test_only_what_is_broken_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    mending = load("mend_environment")
    errors = {"sound": [""], "gone": [mending.ABSENT], "broken": ["OSError: no library", mending.ABSENT]}
    monkeypatch.setattr(mending, "try_import", lambda _statement, package, _tolerated: errors[package].pop(0))
    mended: list[str] = []
    for package in ("sound", "gone", "broken"):
        assert mending.mend_where_broken(mending.Mend(package, "()", mended.append, "removed")) is None
    assert mended == ["broken"]


def test_a_mend_that_does_not_help_is_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    mending = load("mend_environment")
    monkeypatch.setattr(mending, "try_import", lambda *_: "OSError: no library")
    complaint = mending.mend_where_broken(mending.Mend("broken", "()", lambda _: None, "removed"))
    assert "broken still does not import: OSError: no library" in complaint


def test_absent_tolerated_and_broken_imports_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mending = load("mend_environment")
    (tmp_path / "half_there.py").write_text("raise RuntimeError('no FFmpeg')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert mending.try_import("import no_such", "no_such") == mending.ABSENT
    assert mending.try_import("import half_there", "half_there") == "RuntimeError: no FFmpeg"
    assert mending.try_import("import half_there", "half_there", "RuntimeError") == ""
