"""Facts of a run: the command that reproduces it, and what they read back as."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cluster.records.run_facts import RunFacts, host_memory_gib, installed_versions, read_facts, write_facts
from tests.cluster.run_fixture import facts


def test_the_command_line_is_the_one_typed(tmp_path: Path) -> None:
    package = tmp_path / "spoken"
    package.mkdir()
    code = "from cluster.records.run_facts import command_line\nprint(command_line())\n"
    (package / "__main__.py").write_text(code)
    (package / "launch.py").write_text(code)
    root = str(Path(__file__).parents[2])
    said = []
    for call in (["-m", "spoken"], ["-m", "spoken.launch"], ["spoken/launch.py"]):
        command = [sys.executable, *call, "--config", "a b.yaml"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PYTHONPATH": f"{root}:{tmp_path}", "PATH": ""},
        )
        said.append(done.stdout.strip())
    assert said == [
        f"{sys.executable} -m spoken --config 'a b.yaml'",
        f"{sys.executable} -m spoken.launch --config 'a b.yaml'",
        f"{sys.executable} spoken/launch.py --config 'a b.yaml'",
    ]


def test_facts_read_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_facts(tmp_path) is None
    write_facts(tmp_path, facts("night"))
    assert read_facts(tmp_path) == facts("night")


def test_versions_and_memory_are_those_of_this_process() -> None:
    versions = installed_versions()
    assert versions["python"] == sys.version.split()[0]
    assert {"ray", "torch"} <= set(versions) and "" not in versions.values()
    resident, used = host_memory_gib()
    assert 0.001 < resident < used


def test_a_file_name_that_is_no_utf_8_is_written_down(tmp_path: Path) -> None:
    odd = "clip\udcff.mp4"
    known = facts("night").model_dump()
    write_facts(tmp_path, RunFacts(**known | {"command": odd, "warnings": [odd], "model": odd}))
    found = read_facts(tmp_path)
    assert found and {found.command, found.model, *found.warnings} == {"clip?.mp4"}
