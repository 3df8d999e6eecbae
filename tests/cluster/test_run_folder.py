"""One process at a time writes into a folder, and a folder that goes away is noticed."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import ConfigError, RunFolderGone
from cluster.records.json_lines import JsonLines
from cluster.records.metrics import StepRecord
from cluster.records.run_folder import held_folder, new_folder

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from cluster.records.run_folder import held_folder, new_folder
with {how}(Path(sys.argv[1])) as folder:
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path, how: str = "held_folder") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until it is killed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(how=how), str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin and holder.stdout
    while "held" not in holder.stdout.readline():
        assert holder.poll() is None
    try:
        yield holder
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()


@pytest.mark.parametrize("ours", [held_folder, new_folder])
@pytest.mark.parametrize("theirs", ["held_folder", "new_folder"])
def test_a_held_folder_is_refused_until_its_holder_is_dead(tmp_path: Path, ours: Any, theirs: str) -> None:
    folder = tmp_path / "run"
    with held_elsewhere(folder, theirs) as holder:
        with pytest.raises(ConfigError) as error, ours(folder):
            pass
        message = str(error.value)
        assert f"{folder} is in use: process {holder.pid} on {socket.gethostname()}, since 20" in message
        assert "another run.name" in message
        assert [path.name for path in tmp_path.iterdir()] == ["run"], "nothing was renamed"
        holder.kill()
        holder.wait()
        with ours(folder) as found:
            found.check()


def test_a_new_folder_is_held_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def named(path: Path, target: Path) -> Path:
        (target / "other").mkdir(parents=True)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", named)
    with pytest.raises(ConfigError, match="made by another process just now"), new_folder(tmp_path / "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", none)
    with held_folder(tmp_path / "run"):
        assert "on a file system without locks" in capsys.readouterr().out


def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path / "run"):
        (tmp_path / "run" / "run.lock").write_text('{"pid": 1}')
        with (
            pytest.raises(ConfigError, match="a process that has not said yet"),
            held_folder(tmp_path / "run"),
        ):
            pass


def delete(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def replace(folder: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    (folder / "metrics.jsonl").touch()


@pytest.mark.parametrize("goes", [delete, replace, lambda folder: folder.rename(folder.with_name("moved"))])
def test_a_folder_that_is_gone_is_noticed_at_the_next_record(tmp_path: Path, goes: Any) -> None:
    with held_folder(tmp_path / "run") as folder:
        lines = JsonLines(folder.path / "metrics.jsonl")
        lines.append(StepRecord(step=1))
        goes(folder.path)
        with pytest.raises(
            RunFolderGone, match=re.escape(f"{folder.path / 'metrics.jsonl'} is gone")
        ) as error:
            lines.append(StepRecord(step=2))
        assert not error.value.resumable and "Start it anew" in str(error.value)
        with pytest.raises(RunFolderGone):
            folder.check()
        lines.close()


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    """A worker that outlives the run must not keep its folder."""
    with held_folder(tmp_path / "run"):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
        )
        reader, writer = os.pipe()
        forked = os.fork()
        if forked == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    with held_elsewhere(tmp_path / "run"):
        pass
    os.close(writer)
    os.waitpid(forked, 0)
    child.communicate()


@pytest.mark.parametrize("ours", [held_folder, new_folder])
def test_what_fails_in_a_folder_that_is_gone_fails_for_that(tmp_path: Path, ours: Any) -> None:
    with pytest.raises(RunFolderGone) as error, ours(tmp_path / "run") as folder:
        delete(folder.path)
        (folder.path / "results.json").write_text("")
    assert isinstance(error.value.__context__, FileNotFoundError)
    with pytest.raises(FileNotFoundError), ours(tmp_path / "run") as folder:
        (folder.path / "nothing").read_text()
