"""Annotation files of any size and kind: what is too long or too deep is named, and what never ends is not opened."""

from __future__ import annotations

import json
import os
import resource
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data.check_config import read_specs
from data.limits import MAX_NESTING
from data.readers import DatasetError, DatasetSpec, read
from rewards.files import MAX_LINE_BYTES
from tests.data.readers.samples import SAMPLES, SEQUENCE
from tests.data.test_check import app


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def own_line(**fields: object) -> str:
    usable = {"task": "temporal_grounding", "video": "a.mp4", "question": "a door opens", "duration": 8}
    return json.dumps(usable | {"id": "a", "target": {"interval": [1, 2]}} | fields)


def test_a_line_of_a_gigabyte_is_read_past(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    with path.open("wb") as file:
        file.write(own_line().encode() + b"\n")
        for start, hole in ((b'{"id": "', 2**30), (b"\r", 2**25), (b" ", 2**25)):
            file.write(start)
            file.seek(hole, os.SEEK_CUR)  # a hole, which takes no space on the disk
            file.write(b"x\n")
        file.write(own_line(id="b").encode() + b"\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reading = read(DatasetSpec("own", "jsonl", path))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5 * MAX_LINE_BYTES / 1024
    assert [prompt.id for prompt in reading.prompts] == ["a", "b"]
    assert reading.problems == [f"{path}:{line}: longer than 16,777,216 bytes" for line in (2, 3, 4)]


def test_a_first_line_that_is_too_long_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("{\r" + " " * MAX_LINE_BYTES + "}\n" + own_line())
    reading = read(DatasetSpec("own", "jsonl", path))
    assert reading.problems == [f"{path}:1: longer than 16,777,216 bytes"] and len(reading.prompts) == 1


@pytest.mark.parametrize("levels", [MAX_NESTING, 500, 990, 100_000])
def test_nesting_is_named_by_file_and_line(tmp_path: Path, levels: int) -> None:
    path = tmp_path / "own.jsonl"
    plain = own_line()
    path.write_text(f'{plain}\n{plain[:-1]}, "more": {deep(levels)}}}\n{own_line(id="b")}')
    reading = read(DatasetSpec("own", "jsonl", path))
    too_deep = f"lists and objects are nested more than {MAX_NESTING} deep"
    assert reading.problems == [f"{path}:2: {too_deep}"] and len(reading.prompts) == 2
    quality = SAMPLES["quality"](tmp_path)
    content = quality.annotations.read_text()
    quality.annotations.write_text(f'[{{"text": "[[[["}},\n\n{deep(levels)},{content[1:]}')
    assert read(quality).problems == [f"{quality.annotations}:3: {too_deep}"]


def test_nesting_up_to_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(f'{own_line()[:-1]}, "more": {deep(MAX_NESTING - 1)}}}')
    assert read(DatasetSpec("own", "jsonl", path)).problems == []


PIPE = "is a pipe, which is never opened: name a file"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "name", sorted(name for name in SAMPLES if name not in {"got10k", "mvbench", "nextgqa"})
)
def test_annotations_that_never_end_are_not_opened(tmp_path: Path, name: str) -> None:
    spec = SAMPLES[name](tmp_path)
    spec.annotations.unlink()
    os.mkfifo(spec.annotations)
    with pytest.raises(OSError, match=PIPE):
        read(spec)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin"])
def test_a_device_is_not_opened(tmp_path: Path, device: str) -> None:
    (tmp_path / "own.jsonl").symlink_to(device)
    with pytest.raises(OSError, match="which is never opened"):
        read(DatasetSpec("own", "jsonl", tmp_path / "own.jsonl"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["val.csv", "gsub_val.json", "map_vid_vidorID.json"])
def test_files_beside_the_annotations_are_not_opened_either(tmp_path: Path, name: str) -> None:
    spec = SAMPLES["nextgqa"](tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=f"{name}: {PIPE}"):
        read(spec)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["groundtruth.txt", "cover.label", "meta_info.ini", "00000001.jpg"])
def test_a_pipe_in_a_sequence_costs_the_sequence(tmp_path: Path, name: str) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    (tmp_path / "val" / SEQUENCE / name).unlink()
    os.mkfifo(tmp_path / "val" / SEQUENCE / name)
    (problem,) = read(spec).problems
    assert PIPE in problem and name in problem


def test_a_loop_of_links_and_a_socket_are_named(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.symlink_to(path)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        read(DatasetSpec("own", "jsonl", path))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))
        with pytest.raises(OSError, match="is a socket, which is never opened"):
            read(DatasetSpec("own", "jsonl", path))


@pytest.mark.timeout(20)
def test_a_configuration_that_is_a_pipe_or_vast_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=PIPE):
        read_specs(path)
    path.unlink()
    path.write_text("data: {}\n" + "# \n" * 2**19)
    with pytest.raises(DatasetError, match="holds more than 1,048,576 bytes"):
        read_specs(path)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(9 * ['*' + before])}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"data: {deep(2000)}", "nested deeper than 50 levels"),
        ("data: &loop {datasets: [*loop]}", "stands inside of what it repeats"),
        (BOMB + "data: {datasets: {x: *i}}", "more than 10,000 values"),
    ],
)
def test_a_configuration_that_holds_itself_or_a_million_values_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "run.yaml").write_text(text)
    result = CliRunner().invoke(app, ["--config", str(tmp_path / "run.yaml")])
    assert result.exit_code == 2 and reason in result.output
