"""Whatever stands in the annotations of any format, each entry is a usable prompt or a problem with its place, soon.

The long version runs by name: `python -m pytest -m slow tests/data/readers/test_fuzzed_entries.py`.
"""

from __future__ import annotations

import copy
import io
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from data.readers import DatasetSpec, read
from data.schema import parse_prompt
from tests.damage import damaged
from tests.data.readers.samples import SAMPLES

# Of a dataset of a few entries, which takes a millisecond when it is whole.
DEADLINE_S = 2.0
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -(10**25), 0.1, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
    *("", " ", "\0", "\ud800", "a\udfffb", "\x1b[31m", "\u202e", "\u2028", "\r", "\n", "\t", "é"),
    *("1e999", "NaN", "9" * 5000, "A", "(B)", "A. ", "[0, 1]", "<answer>", "<|video_pad|>"),
    *("../../x", "/dev/zero", "._a.mp4", "x" * 100_000, "x/" * 3000),
    *([], {}, [[]], [None], [[1, 2], [3]], {"": ""}, [1, 2], [2, 1]),
    *([0.5] * 4, [[0, 0, 1, 1]] * 8, list(range(8))),
)
RAW = (
    *("NaN", "-Infinity", "1e999", "-0", "9" * 5000, "1e-400", '"\\ud800"', '"\\u0000"'),
    *('"' + "y" * 50_000 + '"', "[" * 60 + "]" * 60, "[" * 70 + "]" * 70, "[" * 990 + "]" * 990),
    *('{"a":' * 5000 + "1" + "}" * 5000, "[" * 9999),
)
CELLS = (
    *("", " ", "-1", "1e999", "nan", "NaN", "inf", "1:30", "9" * 5000, "0x10", "1_0", "١", "a"),
    *("##", ",", '"', "\0", "\r", "\ud800", "\x1b", "x" * 200_000),
)
LINE_ENDS = (b"\r\n", b"\r", b"\n\n", b"\n\r", b"\x0b", b"\xe2\x80\xa8", b"")


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value inside another: what holds it, and its key there."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in list(keys):
        yield value, key
        yield from places_in(inside)


def mutated_json(text: bytes, rng: random.Random) -> bytes:
    """JSON in which some values have another type or size, lie deeper, go or stand twice."""
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = list(places_in(value))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1:
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"x": holder[key]}
        elif kind == 2:
            other, place = rng.choice(places)
            holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
        elif isinstance(holder, dict) and kind == 3:
            holder[rng.choice((" ", "id", "\ud800", "a\nb", "k" * 9000, str(key).upper(), f"{key}s"))] = (
                holder.pop(key)
            )
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    written = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:  # what no value is written as
        spots = [match.end() for match in re.finditer(rb": |, |\[", written)]
        if spots:
            at = rng.choice(spots)
            raw = rng.choice(RAW).encode()
            written = written[:at] + raw + rng.choice((b", ", b": ")) + written[at:]
    if rng.random() < 0.1:  # keys that are given twice
        written = re.sub(rb"\{(\"[^\"]*\": )", rb"{\1null, \1", written, count=rng.randint(1, 3))
    return written


def _keys(value: Any) -> Any:
    return value if isinstance(value, dict) else range(len(value))


def mutated_text(text: bytes, rng: random.Random) -> bytes:
    """Text in which some of the words and numbers are others."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        spots = [match.span() for match in re.finditer(rb"[^,\s#=:()]+", text)]
        if spots:
            start, end = rng.choice(spots)
            cell = rng.choice(CELLS).encode("utf-8", "surrogatepass")
            text = text[:start] + cell + text[end:]
    return text


def mutated_table(path: Path, rng: random.Random) -> None:
    """A parquet file of other values, where a column takes them."""
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows *= rng.choice((1, 2))
    for _ in range(rng.choice((1, 2, 4))):
        key = rng.choice(list(rows[0]))
        values = [copy.deepcopy(rng.choice(VALUES)) for _ in rows]
        changed = [row | {key: value} for row, value in zip(rows, values, strict=True)]
        try:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(changed), file := io.BytesIO())
        except (pyarrow.ArrowException, OverflowError, UnicodeError):
            continue
        rows = changed
        path.write_bytes(file.getvalue())


def mutate(path: Path, rng: random.Random) -> None:
    """Change one annotation file."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        if rng.random() < 0.5:
            mutated_table(path, rng)
            return
        content = damaged(content, [content], rng)
    elif rng.random() < 0.15:
        content = damaged(content, [content], rng)
    elif path.suffix == ".json":
        content = mutated_json(content, rng)
    elif path.suffix == ".jsonl":
        lines = [line for line in content.splitlines() if line]
        lines[rng.randrange(len(lines))] = mutated_json(rng.choice(lines), rng)
        content = b"\n".join(lines) + b"\n"
    else:
        content = mutated_text(content, rng)
    if rng.random() < 0.1:
        content = content.replace(b"\n", rng.choice(LINE_ENDS))
    if rng.random() < 0.05:
        content = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\n \n")) + content
    path.write_bytes(content)


def check(spec: DatasetSpec, home: Path, said: str) -> tuple[int, float]:
    """How many usable prompts there are, and the seconds that it took to read them."""
    started = time.monotonic()
    reading = read(spec)
    seconds = time.monotonic() - started
    assert len(reading.prompts) + len(reading.problems) == reading.entries, said
    for problem in reading.problems:
        place, _, reason = problem.partition(": ")
        assert place.startswith(str(home)) and reason.strip() and "\n" not in problem, f"{said}: {problem!r}"
        assert len(problem) < 2100 and problem.isprintable(), (
            f"{said}: {len(problem)} letters: {problem[:200]!r}"
        )
    for prompt in reading.prompts:
        written = json.dumps(prompt.to_json(), ensure_ascii=False, allow_nan=False).encode()
        assert parse_prompt(json.loads(written), Path()) == prompt, said
    return len(reading.prompts), seconds


@pytest.mark.parametrize("cases", [range(300), pytest.param(range(1000, 21_000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SAMPLES)
def test_every_entry_is_a_prompt_or_a_problem(tmp_path: Path, name: str, cases: range) -> None:
    home = tmp_path / "set"
    home.mkdir()
    spec = SAMPLES[name](home)
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.suffix != ".jpg")
    contents = {path: path.read_bytes() for path in files}
    usable, slowest = 0, (0.0, "")
    for case in cases:
        rng, said = random.Random(f"{name} {case}"), f"{name}, case {case}"
        path = rng.choice(files)
        mutate(path, rng)
        prompts, seconds = check(spec, home, said)
        usable, slowest = usable + bool(prompts), max(slowest, (seconds, said))
        path.write_bytes(contents[path])
    print(
        f"{name}: {len(cases)} cases, {usable} with prompts; the slowest took {slowest[0]:.3f} s: {slowest[1]}"
    )
    assert slowest[0] < DEADLINE_S, slowest
    assert usable > 0, "some damage leaves prompts"
