"""Checkpoint folders: whole or skipped, newest first, a bounded number of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from learner import checkpoint


def write(folder: Path, step: int, keep: int = 3) -> Path:
    unfinished = folder / checkpoint.unfinished_name(step)
    (unfinished / "nested").mkdir(parents=True)
    (unfinished / "weights.pt").write_bytes(b"w" * 100)
    (unfinished / "nested" / "optimizer.pt").write_bytes(b"o" * 50)
    return checkpoint.seal(folder, step, {"step": step}, {"learner ranks": 1}, keep)


def test_newest_is_found_with_its_state(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        write(tmp_path, step)
    newest, problems = checkpoint.newest_complete(tmp_path)
    assert newest is not None and newest.name == "step-00000010" and problems == []
    assert checkpoint.read_client_state(newest) == {"step": 10}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in range(5):
        write(tmp_path, step, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "step-00000003", "step-00000004"]
    assert (tmp_path / "latest").read_text() == "step-00000004"


def truncate(folder: Path) -> None:
    (folder / "nested" / "optimizer.pt").write_bytes(b"o" * 49)


def remove_file(folder: Path) -> None:
    (folder / "weights.pt").unlink()


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\xff{")


def holding(name: str, text: str) -> Callable[[Path], None]:
    def tear(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["bytes"][name] = len(text)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        (folder / name).write_text(text)

    return tear


SHAPES = [
    "[]",
    "null",
    "3",
    "{}",
    '{"bytes": []}',
    '{"bytes": {}}',
    '{"bytes": {"weights.pt": "100"}, "layout": {}}',
    '{"bytes": {"weights.pt": true}, "layout": {}}',
    '{"bytes": {"../../x": 1}, "layout": {}}',
    '{"bytes": {}, "layout": 3}',
    "[" * 100_000,
]
TEARS = [
    *(truncate, remove_file, remove_manifest, garble_manifest),
    *(holding("manifest.json", text) for text in SHAPES),
    *(holding("client_state.json", text) for text in ("[]", "{", "null", "[" * 100_000)),
]


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_checkpoint_is_skipped(tmp_path: Path, tear) -> None:  # type: ignore[no-untyped-def]
    write(tmp_path, 1)
    tear(write(tmp_path, 2))
    newest, problems = checkpoint.newest_complete(tmp_path)
    assert newest is not None and newest.name == "step-00000001"
    assert len(problems) == 1 and "step-00000002" in problems[0]


def test_a_kill_while_writing_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, 1)
    unfinished = tmp_path / checkpoint.unfinished_name(2)
    unfinished.mkdir()
    (unfinished / "weights.pt").write_bytes(b"w" * 30)
    newest, problems = checkpoint.newest_complete(tmp_path)
    assert newest is not None and newest.name == "step-00000001" and problems == []


def test_writing_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    write(tmp_path, 1)
    truncate(tmp_path / "step-00000001")
    write(tmp_path, 1)
    assert checkpoint.newest_complete(tmp_path)[1] == []
