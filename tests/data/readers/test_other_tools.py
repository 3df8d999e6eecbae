"""Files that other people's tools have saved: line ends, encodings, decimal commas, blank texts, odd names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.image_frames import list_images
from data.readers import DatasetSpec, read, read_dataset
from data.readers.videos import Videos
from data.schema import AnnotationError
from tests.data.readers.samples import SAMPLES

LINES = ["3MSZA 24.3 30.4##person turn a light on.", "3MSZA 0:05 0:06.5##person opens a door."]


def charades(folder: Path, content: bytes) -> DatasetSpec:
    spec = SAMPLES["charades_sta"](folder)
    spec.annotations.write_bytes(content)
    return spec


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_end_as_on_any_system(tmp_path: Path, end: str, mark: str) -> None:
    for content in (end.join(LINES), end.join([*LINES, ""])):
        prompts, problems = read_dataset(charades(tmp_path, (mark + content).encode()))
        assert problems == []
        assert [prompt.target["interval"] for prompt in prompts] == [[24.3, 30.4], [5, 6.5]]
        assert [prompt.question for prompt in prompts] == ["person turn a light on", "person opens a door"]


def test_lines_of_json_may_end_as_on_old_macs(tmp_path: Path) -> None:
    spec = SAMPLES["jsonl"](tmp_path)
    first, *_ = spec.annotations.read_text().splitlines()
    spec.annotations.write_bytes(f"{first}\r{first.replace('own', 'two', 1)}\r".encode())
    reading = read(spec)
    assert (reading.problems, reading.places) == ([], [f"{spec.annotations}:1", f"{spec.annotations}:2"])


def test_line_ends_of_two_kinds_are_named(tmp_path: Path) -> None:
    prompts, problems = read_dataset(
        charades(tmp_path, "\r".join(LINES).encode() + b"\n" + LINES[0].encode())
    )
    assert len(prompts) == 1 and len(problems) == 1
    assert ":1: a carriage return within the line" in problems[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["charades_sta", "jsonl", "quality"])
def test_another_encoding_is_named_with_the_remedy(tmp_path: Path, name: str, encoding: str) -> None:
    spec = SAMPLES[name](tmp_path)
    spec.annotations.write_bytes(spec.annotations.read_text().encode(encoding))
    prompts, problems = read_dataset(spec)
    assert prompts == []
    assert all("UTF-16" in problem and "save the file as UTF-8" in problem for problem in problems)


def test_latin_1_is_named_with_the_remedy(tmp_path: Path) -> None:
    (problem,) = read_dataset(charades(tmp_path, "3MSZA 1 2##a café.".encode("latin-1")))[1]
    assert "Latin-1" in problem and "UTF-8" in problem


@pytest.mark.parametrize(
    "times",
    [
        "0,5 6,9",
        "1,250 1,300",
        "1.0.0 2.0",
        "10% 20%",
        "1_0 2_0",
        "1k 2k",
        "nan 2",
        "1 inf",
        "½ 2",
        "１，５ 2",
    ],
)
def test_a_time_that_can_be_read_otherwise_is_refused(tmp_path: Path, times: str) -> None:
    prompts, (problem,) = read_dataset(charades(tmp_path, f"3MSZA {times}##a door.".encode()))
    assert prompts == [] and "must be a time in seconds" in problem


def test_a_length_with_a_decimal_comma_is_refused(tmp_path: Path) -> None:
    spec = charades(tmp_path, LINES[0].encode())
    durations = tmp_path / "lengths.csv"
    durations.write_text('id,length\n3MSZA,"30,96"\n')
    (problem,) = read_dataset(replace(spec, options={"durations": str(durations)}))[1]
    assert "length must be a time in seconds, found '30,96'" in problem


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("1,250", 1250),
        ("3.5", 3.5),
        ("-2", -2),
        ("３", 3),
        ("3,5", None),
        ("1_000", None),
        ("3, 5, 7", None),
        ("5½", None),
    ]
    + [("0,250", None), ("−5", None), ("5%", None), ("1e999", None), ("3k", None)],  # noqa: RUF001
)
def test_numbers_are_read_by_the_rules_for_answers(tmp_path: Path, answer: str, number: float | None) -> None:
    item = {
        "problem": "How many?",
        "problem_type": "numerical",
        "solution": f"<answer>{answer}</answer>",
        "path": "a.mp4",
    }
    path = tmp_path / "video_r1.json"
    path.write_text(json.dumps([item]))
    prompts, problems = read_dataset(DatasetSpec("x", "video_r1", path))
    assert [prompt.target["number"] for prompt in prompts] == ([] if number is None else [number])
    assert len(problems) == (number is None)


@pytest.mark.parametrize("rate", ["10,5Hz", "0Hz", "ten"])
def test_a_frame_rate_that_is_none_is_refused(tmp_path: Path, rate: str) -> None:
    spec = SAMPLES["got10k"](tmp_path)
    (meta,) = spec.annotations.rglob("meta_info.ini")
    meta.write_text(meta.read_text().replace("10Hz", rate))
    (problem,) = read_dataset(spec)[1]
    assert "anno_fps" in problem


BLANKS = ["", " \t", "\u200b\ufeff", "\u3164", "\u2800", "\u00ad", "\u202e", "\u0301"]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    ("name", "change"),
    [
        (
            "quality",
            lambda item, blank: (
                item[0] | {"instruction": f"{blank} Choice one answer from ['a', 'low quality']."}
            ),
        ),
        ("video_r1", lambda item, blank: item[0] | {"problem": blank}),
        ("video_r1", lambda item, blank: item[0] | {"options": ["A. red", f"B. {blank}"]}),
        ("longvideobench", lambda item, blank: item[0] | {"candidates": ["x", blank, "y", "z"]}),
        ("longvideobench", lambda item, blank: item[0] | {"question": blank}),
        ("time_r1", lambda item, blank: item[0] | {"sentence": f"{blank}."}),
    ],
)
def test_a_blank_question_or_option_is_refused(tmp_path: Path, name: str, change: Any, blank: str) -> None:
    spec = SAMPLES[name](tmp_path)
    item = json.loads(spec.annotations.read_text())
    spec.annotations.write_text(json.dumps([change(item, blank)]))
    prompts, (problem,) = read_dataset(spec)
    assert prompts == [] and "not blank" in problem


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_name_of_an_object_is_refused(tmp_path: Path, blank: str) -> None:
    spec = SAMPLES["perception_test"](tmp_path)
    content = json.loads(spec.annotations.read_text())
    content["video_1"]["object_tracking"][0]["label"] = blank
    spec.annotations.write_text(json.dumps(content))
    assert any("label must not be blank" in problem for problem in read_dataset(spec)[1])


@pytest.mark.parametrize("name", ["K9_21.5", "K9_21.5_37", "v.2024", "K9_21.mp", "K9_21.", "K9_21.mp4.part"])
def test_a_part_of_a_name_is_no_extension(tmp_path: Path, name: str) -> None:
    for there in ("K9_21.mp4", "v.mp4"):
        (tmp_path / there).touch()
    assert Videos(tmp_path).find(name) == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("K9_21.5", "K9_21.5.mp4"),
        ("K9_21.5.avi", "K9_21.5.mkv"),
        ("a.MP4", "a.webm"),
        ("a.mpeg", "a.mp4"),
        ("a", "a.gif"),
    ],
)
def test_another_container_is_found(tmp_path: Path, name: str, there: str) -> None:
    (tmp_path / there).touch()
    assert Videos(tmp_path).find(name) == str(tmp_path / there)


def test_what_macos_keeps_beside_files_is_none_of_them(tmp_path: Path) -> None:
    for name in ("._a.mp4", "._1.png", "1.png"):
        (tmp_path / name).touch()
    for name in ("._a.mp4", "._a", "./._a.avi"):
        with pytest.raises(AnnotationError, match="macOS"):
            Videos(tmp_path).find(name)
    assert Videos(tmp_path).find("a.mp4") == str(tmp_path / "a.mp4")
    assert list_images(tmp_path) == [tmp_path / "1.png"]


def test_mvbench_reads_no_file_that_macos_keeps(tmp_path: Path) -> None:
    spec = SAMPLES["mvbench"](tmp_path)
    (spec.annotations / "._moving_count.json").write_bytes(b"\0\5\x16\7")
    assert read(spec).problems == []
