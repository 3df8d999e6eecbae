"""Whatever bytes stand in a file of predictions, it is read, and every line is accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cluster.evaluation.predictions import read_predictions
from cluster.inputs.benchmarks import Benchmark
from data.schema import Task, VideoPrompt

NAMES = ("a", "7")
PROMPTS = tuple(
    VideoPrompt(f"set/{name}", Task.MULTIPLE_CHOICE, "c.mp4", "Which?", {"answer": "A"}, None, ("x", "y"))
    for name in NAMES
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.fixed_dictionaries(
    {}, optional={"id": st.sampled_from([*NAMES, "set/a", 7]) | VALUES, "response": VALUES, "answer": VALUES}
)
LINES = (
    FIELDS.map(lambda fields: json.dumps(fields).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b""))
    | st.sampled_from([b'{"id": "a", "response": "A"}', b'{"id": 1' + b"0" * 5000 + b"}", b"[" * 20_000])
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predictions") / "answers.jsonl"


@settings(deadline=None)
@given(lines=st.lists(LINES, max_size=6))
def test_every_line_is_read_or_told_of(path: Path, lines: list[bytes]) -> None:
    # A file that starts like a JSON list is read as one, which has no lines.
    assume(not b"\n".join(lines).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["))
    # Lines end otherwise in UTF-16, of which the first is told alone, and in a file of carriage returns.
    assume(not b"\n".join(lines).startswith((b"\xff\xfe", b"\xfe\xff")))
    assume(len(lines) != 1 or b"\r" not in lines[0])
    path.write_bytes(b"\n".join(lines))
    found = read_predictions(path, [Benchmark("set", PROMPTS)])
    named = {*found.responses, *found.unusable}
    assert len(named) == len(found.responses) + len(found.unusable)
    assert named <= {prompt.id for prompt in PROMPTS}
    assert all(isinstance(text, str) for text in found.responses.values())
    said = len(named) + len(found.unknown) + len(found.problems)
    assert said == sum(1 for line in lines if line.strip())
