"""`docs/datasets.md` is right: its sample lines are usable, its entries name formats that exist; and ids elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from data.check_config import read_specs
from data.readers import READERS, read_dataset
from data.schema import Task, parse_prompt
from tests.data.readers.samples import SAMPLES

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "datasets.md").read_text()
LINES = [json.loads(line) for line in re.findall(r"^\{.*\}$", TEXT, flags=re.MULTILINE)]


def test_every_task_has_a_line() -> None:
    assert {line["task"] for line in LINES} >= set(Task)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line["id"])
def test_a_line_is_usable(line: dict[str, object]) -> None:
    if line["task"] not in list(Task):
        pytest.skip(f"{line['task']} is not registered")
    assert parse_prompt(line, Path()).id == line["id"]


def test_every_format_has_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in set(re.findall(r"\$\{(\w+)\}", TEXT)) - {"NAME"}:
        monkeypatch.setenv(variable, "somewhere")
    entries = re.findall(r"\{name: .*?\}(?=`|$)", TEXT, flags=re.MULTILINE)
    (tmp_path / "run.yaml").write_text("data:\n  datasets:\n" + "".join(f"  - {e}\n" for e in entries))
    specs = read_specs(tmp_path / "run.yaml")
    assert len(specs) == len(entries)
    assert {spec.format for spec in specs} == set(READERS)


def test_every_format_has_its_options() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.* `\{name: .*)$", TEXT, flags=re.MULTILINE))
    named = {format_: " ".join(re.findall(r"`options: \{(.*?)\}`", row)) for format_, row in rows.items()}
    found = {format_: re.findall(r"(\w+): ", options) for format_, options in named.items()}
    assert found == {format_: list(READERS[format_].options) for format_ in READERS if format_ != "jsonl"}


def test_every_field_of_a_line_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \| ", TEXT, flags=re.MULTILINE))
    assert described >= {field for line in LINES for field in line}


def test_ids_of_prompts_are_those_that_their_reader_makes(tmp_path: Path) -> None:
    named = re.findall(r"charades/[\w/-]+", (DOCS / "training_data.md").read_text())
    made = [f"charades/{prompt.id}" for prompt in read_dataset(SAMPLES["charades_sta"](tmp_path))[0]]
    assert set(named) == set(made[:1])
