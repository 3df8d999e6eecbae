"""Whatever bytes stand in a file, a reader tells of them and does not raise."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.readers import DatasetSpec, read
from tests.data.readers.samples import SAMPLES

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.just(10**400),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(["\0", "\ud800", "(A)", "1e999", "[]"]),
    st.lists(st.integers(-1, 2), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DatasetSpec]:
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in SAMPLES.items()}


def damage(content: bytes, data: st.DataObject) -> bytes:
    """Cut out a stretch and put other bytes there."""
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 40)))
    return content[:start] + data.draw(st.binary(max_size=8)) + content[end:]


def read_copy(spec: DatasetSpec, changed: Path, content: bytes) -> None:
    """Read a copy of a sample in which a file has other content."""
    home = spec.folder.parent if spec.annotations.is_dir() else spec.folder
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "copy"
        shutil.copytree(home, copy)
        (copy / changed.relative_to(home)).write_bytes(content)
        reading = read(DatasetSpec(spec.name, spec.format, copy / spec.annotations.relative_to(home)))
    assert len(reading.places) == len(reading.prompts)
    assert len(reading.prompts) + len(reading.problems) == reading.entries


def annotation_files(spec: DatasetSpec) -> list[Path]:
    return sorted(path for path in spec.folder.rglob("*") if path.is_file() and path.name != "00000002.jpg")


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=40)
@given(data=st.data())
def test_no_reader_raises_on_damaged_bytes(
    samples: dict[str, DatasetSpec], name: str, data: st.DataObject
) -> None:
    spec = samples[name]
    changed = data.draw(st.sampled_from(annotation_files(spec)))
    read_copy(spec, changed, damage(changed.read_bytes(), data))


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - {"charades_sta", "got10k", "video_mme"}))
@settings(max_examples=60)
@given(data=st.data())
def test_no_reader_raises_on_values_of_other_types(
    samples: dict[str, DatasetSpec], name: str, data: st.DataObject
) -> None:
    spec = samples[name]
    changed = data.draw(st.sampled_from([p for p in annotation_files(spec) if p.suffix.startswith(".json")]))
    lines = changed.read_text().splitlines() if changed.suffix == ".jsonl" else [changed.read_text()]
    values = [json.loads(line) for line in lines if line]
    places = [(value, *place) for value in values for place in places_in(value)]
    _, holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(JUNK)
    read_copy(spec, changed, "\n".join(map(json.dumps, values)).encode())


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value inside another: what holds it, and its key there."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in list(keys):
        yield value, key
        yield from places_in(inside)
