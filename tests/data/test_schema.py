"""Annotation files as users bring them: what is read, and that a bad line costs itself and nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.readers import DatasetSpec, read_dataset
from data.schema import (
    NUM_BOXES,
    AnnotationError,
    Task,
    VideoPrompt,
    misspelt_fields,
    parse_prompt,
    write_annotations,
)
from rewards.scoring import read_target

BOX = [0.1, 0.2, 0.3, 0.4]
TARGETS: dict[str, dict[str, Any]] = {
    "temporal_grounding": {"interval": [1.0, 2.0]},
    "tracking": {"boxes": [BOX] * NUM_BOXES},
    "multiple_choice": {"answer": "B"},
    "grounded_qa": {"answer": "B", "intervals": [[1, 2.5], [3, 9]]},
    "spatial_grounding": {"box": BOX},
    "captioning": {"caption": "A door opens.", "events": ["a door opens"]},
    "quality": {"label": "Red "},
    "numerical": {"number": 3},
    "ocr": {"text": "EXIT"},
    "free_form": {"text": "because it rains"},
    "regression": {"number": 2.5},
}
NESTED = "[" * 100_000


def annotation(task: str = "temporal_grounding", **fields: Any) -> dict[str, Any]:
    usable = {
        "id": "p",
        "task": task,
        "video": "clip.mp4",
        "question": "a door opens",
        "duration": 8,
        "target": TARGETS[task],
        "options": ["red", 2],
    }
    return usable | fields


def read_annotations(path: Path) -> tuple[list[VideoPrompt], list[str]]:
    return read_dataset(DatasetSpec("own", "jsonl", path))


def read(folder: Path, *lines: str, between: str = "\n") -> tuple[list[str], list[str]]:
    """Ids and problems of a file with these lines."""
    path = folder / "prompts.jsonl"
    path.write_bytes(between.join(lines).encode())
    prompts, problems = read_annotations(path)
    return [prompt.id for prompt in prompts], problems


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = [parse_prompt(annotation(task, id=task), tmp_path) for task in TARGETS]
    written.append(parse_prompt(annotation("tracking", id=5, box_frames=list(range(8))), tmp_path))
    written.append(parse_prompt(annotation(id="part", span=[3, 11], frame_rate=2.5), tmp_path))
    unlisted = {
        key: value for key, value in annotation("tracking", id="unlisted").items() if key != "duration"
    }
    written.append(parse_prompt(unlisted, tmp_path))
    write_annotations(tmp_path / "a.jsonl", written)
    assert read_annotations(tmp_path / "a.jsonl") == (written, [])
    assert [prompt.id for prompt in written] == [*TARGETS, "5", "part", "unlisted"]
    assert written[-2].span == (3.0, 11.0) and written[-1].duration is None


def test_a_span_says_how_long_the_clip_is() -> None:
    fields = annotation(span=[10, 14.5])
    assert parse_prompt(fields, Path()).duration == 8
    del fields["duration"]
    assert parse_prompt(fields, Path()).duration == 4.5


def test_times_need_a_duration() -> None:
    for task in ("temporal_grounding", "grounded_qa"):
        fields = annotation(task)
        del fields["duration"]
        with pytest.raises(AnnotationError, match="missing duration"):
            parse_prompt(fields, Path())


def test_what_decides_a_clip_is_its_key() -> None:
    prompts = [
        parse_prompt(annotation("tracking", **fields), Path())
        for fields in (
            {},
            {"video": "other.mp4"},
            {"box_frames": list(range(8))},
            {"span": [0, 8]},
            {"span": [0, 9]},
            {"frame_rate": 2},
        )
    ]
    prompts.append(replace(prompts[0], windows=((2.0, 4.0),)))
    assert len({prompt.clip_key for prompt in prompts}) == len(prompts)
    assert parse_prompt(annotation("multiple_choice"), Path()).clip_key == prompts[0].clip_key


UNUSABLE_FIELDS = {
    "options null": {"options": None},
    "options 3": {"options": 3},
    "an option of no text": {"options": ["red", ["blue"]]},
    "more options than letters": {"options": ["x"] * 11},
    "box_frames null": {"box_frames": None},
    "box_frames of text": {"box_frames": ["x"]},
    "box_frames below 0": {"box_frames": [-1, 1, 2, 3, 4, 5, 6, 7]},
    "box_frames no decoder counts to": {"box_frames": [0, 1, 2, 3, 4, 5, 6, 2**64]},
    "too few box_frames": {"task": "tracking", "target": TARGETS["tracking"], "box_frames": [1, 2]},
    "duration past a float": {"duration": 10**400},
    "duration infinite": {"duration": math.inf},
    "duration not a number": {"duration": math.nan},
    "duration true": {"duration": True},
    "duration 0": {"duration": 0},
    "duration null": {"duration": None},
    "span reversed": {"span": [3, 2]},
    "span before the start": {"span": [-1, 2]},
    "span of one number": {"span": [1]},
    "span infinite": {"span": [1, math.inf]},
    "frame_rate 0": {"frame_rate": 0},
    "frame_rate of text": {"frame_rate": "10"},
    "id null": {"id": None},
    "task a list": {"task": ["tracking"]},
    "task unknown": {"task": "dancing"},
    "video null": {"video": None},
    "video without a name": {"video": ""},
    "video with a null byte": {"video": "a\0.mp4"},
    "question an object": {"question": {}},
    "question that UTF-8 cannot hold": {"question": "\ud800"},
    "question with the clip's placeholder": {"question": "a door <|video_pad|> opens"},
    "an option with an image's placeholder": {"options": ["red", "<|image_pad|>"]},
    "target a list": {"target": []},
}


@pytest.mark.parametrize("name", UNUSABLE_FIELDS)
def test_a_line_with_an_unusable_field_is_skipped_and_named(tmp_path: Path, name: str) -> None:
    bad = json.dumps(annotation() | UNUSABLE_FIELDS[name])
    ids, problems = read(tmp_path, bad, json.dumps(annotation(id="good")))
    assert ids == ["good"]
    (problem,) = problems
    assert problem.startswith(f"{tmp_path / 'prompts.jsonl'}:1: ")
    assert next(key for key in reversed(UNUSABLE_FIELDS[name])) in problem
    assert len(problem) < 500


@pytest.mark.parametrize(
    "line",
    [
        "{",
        NESTED,
        '{"id": ' + NESTED,
        "9" * 5000,
        "null",
        "3",
        '"text"',
        json.dumps(annotation(target=TARGETS["tracking"])),
        json.dumps(annotation(id="good")),
    ],
    ids=lambda line: line[:20],
)
def test_a_line_that_is_no_annotation_is_skipped_and_named(tmp_path: Path, line: str) -> None:
    ids, problems = read(tmp_path, json.dumps(annotation(id="good")), "", line, json.dumps(annotation()))
    assert ids == ["good", "p"]
    (problem,) = problems
    assert problem.startswith(f"{tmp_path / 'prompts.jsonl'}:3: ")


UNUSABLE_TARGETS: list[tuple[str, Any]] = [
    *(
        ("temporal_grounding", {"interval": interval})
        for interval in (
            [2, 1],
            [2, 2],
            [-2, 0],
            [1, math.inf],
            [math.nan, 2],
            [1, 10**400],
            [1, True],
            [9, 10],
        )
    ),
    *(
        ("tracking", {"boxes": [*[BOX] * 5, box, BOX, BOX]})
        for box in (
            [0.3, 0.2, 0.1, 0.4],
            [0.1, 0.4, 0.3, 0.2],
            [0.1, 0.2, 0.1, 0.4],
            [0.1, 0.2, 0.3, 0.2],
            [0.1, 0.2, math.inf, 0.4],
            [math.nan, 0.2, 0.3, 0.4],
            [-(10**400), 0.2, 0.3, 0.4],
            [12, 30, 80, 90],
            BOX[:3],
        )
    ),
    ("tracking", {"boxes": [BOX] * 7}),
    ("multiple_choice", {"answer": "C"}),
    ("multiple_choice", {"answer": ""}),
    ("grounded_qa", {"answer": "A", "intervals": []}),
    ("grounded_qa", {"answer": "A", "intervals": [[1, 2], [4, 3]]}),
    ("grounded_qa", {"answer": "A", "intervals": [[1, 2], [3, math.nan]]}),
    ("grounded_qa", {"answer": None, "intervals": [[1, 2]]}),
    ("tracking", {"boxes": [BOX] * NUM_BOXES, "cover": [1.0] * 7}),
    ("tracking", {"boxes": [BOX] * NUM_BOXES, "cover": "all"}),
    ("spatial_grounding", {"box": [0.3, 0.2, 0.1, 0.4]}),
    ("spatial_grounding", {"box": [BOX]}),
    ("captioning", {"caption": " "}),
    ("captioning", {"caption": "A door opens.", "events": []}),
    ("captioning", {"caption": "A door opens.", "events": ["a door opens", ""]}),
    ("quality", {"label": "green"}),
    ("quality", {"label": None}),
    ("numerical", {"number": "3"}),
    ("numerical", {"number": True}),
    ("regression", {"number": math.inf}),
    ("ocr", {"text": "\n"}),
    ("free_form", {}),
]


@pytest.mark.parametrize(("task", "target"), UNUSABLE_TARGETS, ids=str)
def test_a_target_that_no_answer_can_be_scored_against_is_refused(task: str, target: Any) -> None:
    with pytest.raises(AnnotationError, match="target"):
        parse_prompt(annotation(task, target=target), Path())


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("temporal_grounding", {"interval": [0, 8.4]}),
        ("temporal_grounding", {"interval": [-0.1, 2]}),
        ("tracking", {"boxes": [[-0.01, 0.5, 1.02, 1]] * NUM_BOXES}),
    ],
)
def test_a_target_that_only_reaches_beyond_the_clip_is_used(task: str, target: Any) -> None:
    assert parse_prompt(annotation(task, target=target), Path()).target == target


numbers = st.one_of(
    st.integers(-1, 10), st.floats(), st.just(10**400), st.booleans(), st.none(), st.text(max_size=1)
)
pairs = st.one_of(st.lists(numbers, max_size=3), st.just([1, 2]))
texts = st.one_of(st.text(max_size=2), st.none())
boxes = st.one_of(st.lists(numbers, min_size=4, max_size=4), st.just(BOX))


@given(
    task=st.sampled_from(Task),
    target=st.fixed_dictionaries(
        {},
        optional={
            "interval": pairs,
            "intervals": st.lists(pairs, max_size=3),
            "boxes": st.one_of(st.just([BOX] * NUM_BOXES), st.lists(boxes, min_size=8, max_size=8)),
            "answer": st.one_of(st.text(max_size=2), st.sampled_from("ABCDEF"), st.none()),
            "box": boxes,
            "number": numbers,
            "text": texts,
            "label": texts,
            "caption": texts,
            "events": st.lists(texts, max_size=2),
        },
    ),
    options=st.lists(st.text(max_size=2), max_size=30),
)
def test_what_is_read_can_be_scored(task: Task, target: dict[str, Any], options: list[str]) -> None:
    """The rewards judge a target for themselves; what they refuse must not get as far as a reward worker."""
    try:
        prompt = parse_prompt(annotation(target=target, task=str(task), options=options), Path())
    except AnnotationError:
        return
    read_target(prompt.task, prompt.target, prompt.options or None)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85"])
def test_only_a_newline_ends_a_line(tmp_path: Path, separator: str) -> None:
    """JSON allows the others within a text."""
    question = f"a door{separator}opens"
    lines = [json.dumps(annotation(question=question), ensure_ascii=False), json.dumps(annotation(id="next"))]
    assert read(tmp_path, *lines) == (["p", "next"], [])
    assert read_annotations(tmp_path / "prompts.jsonl")[0][0].question == question


def test_a_carriage_return_between_fields_is_white_space(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps(annotation()).replace(", ", ",\r")) == (["p"], [])


def test_a_line_in_another_encoding_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    lines = [json.dumps(annotation(id=name, question="café"), ensure_ascii=False) for name in "ab"]
    path.write_bytes(lines[0].encode("latin-1") + b"\n" + lines[1].encode("utf-8-sig"))
    prompts, (problem,) = read_annotations(path)
    assert [prompt.id for prompt in prompts] == ["b"]
    assert problem.startswith(f"{path}:1: not UTF-8 text at byte ")


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    lines = [json.dumps(annotation(id=name)) for name in "ab"]
    assert read(tmp_path, *lines, "", between="\r\n") == (["a", "b"], [])


def test_clips_of_a_relative_annotation_file_have_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loaders may run in another working folder, on another machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.jsonl").write_text(
        json.dumps(annotation(video="clips/a.mp4")) + "\n" + json.dumps(annotation(id="q", video="/b.mp4"))
    )
    prompts, _ = read_annotations(Path("sets/a.jsonl"))
    assert [prompt.video for prompt in prompts] == [str(tmp_path / "sets" / "clips" / "a.mp4"), "/b.mp4"]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"spans": [2, 5]}, ["there is no field 'spans'; did you mean span?"]),
        ({"box_frame": [1]}, ["there is no field 'box_frame'; did you mean box_frames?"]),
        ({"source": "YouTube", "difficulty": 3}, []),
        ({"tasks": "qa"}, []),
    ],
)
def test_keys_that_are_nearly_a_field_are_told(extra: dict[str, Any], said: list[str]) -> None:
    """The last has the field itself, so that the other key is its own."""
    fields = {
        "id": "a",
        "task": "multiple_choice",
        "video": "a.mp4",
        "question": "what?",
        "target": {"answer": "A"},
    }
    assert list(misspelt_fields(fields | extra)) == said
