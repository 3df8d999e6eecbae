"""One grammar of numbers and times: for any value and any spelling of it, that value is read or nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rewards.boxes import read_box, read_boxes
from rewards.intervals import read_interval, read_intervals, read_time
from rewards.letters import read_letter
from rewards.numbers import read_number
from rewards.result import Unreadable
from tests.rewards.spellings import AROUND, INTERVALS, LETTERS, NO_INTERVALS, NUMBERS, RUNS

Reading = tuple[float, ...] | float | None


def reading(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except Unreadable:
        return None


@pytest.mark.parametrize("text", INTERVALS)
def test_an_interval_is_read_as_a_person_reads_it(text: str) -> None:
    assert reading(read_interval, text) == (65.0, 80.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1 to 2 minutes", (60, 120)),
        ("1.5 to 2 min", (90, 120)),
        ("10 to 20 hours", (36000, 72000)),
        ("1h2m3s to 1h2m4s", (3723, 3724)),
        ("1 min to 80 s", (60, 80)),
        ("[1, 2] min", None),
        ("1 to 2分", (60, 120)),
        ("2 minutes and 10 seconds to 160 seconds", (130, 160)),
    ],
)
def test_a_unit_of_time_is_converted(text: str, seconds: Reading) -> None:
    assert reading(read_interval, text) == seconds


@pytest.mark.parametrize("text", NO_INTERVALS)
def test_what_may_be_another_interval_is_not_read(text: str) -> None:
    assert reading(read_interval, text) is None
    assert reading(lambda glue: read_intervals(glue, 3), f"[({text.replace(' to ', ', ')})]") is None


@pytest.mark.parametrize(("text", "number"), NUMBERS.items())
def test_a_number_is_read_as_a_person_reads_it_or_not_at_all(text: str, number: float | None) -> None:
    assert reading(read_number, text) == number


@pytest.mark.parametrize(("text", "letter"), LETTERS.items())
def test_a_letter_is_read_as_a_person_reads_it_or_not_at_all(text: str, letter: str | None) -> None:
    assert reading(lambda answer: read_letter(answer, 4), text) == letter


@pytest.mark.parametrize(
    ("text", "intervals"),
    [
        ('[["1:05", "1:20"]]', ((65, 80),)),
        ('[{"start": 65, "end": 80}, {"end": 95, "start": 90}]', ((65, 80), (90, 95))),
        ("**[(1 min 5 s, 80 s)]**", ((65, 80),)),
        ("[（65，80）]", ((65, 80),)),
        ("[(5, 10), (10, 12 min)]", None),
        ("[(5 frames, 10 frames)]", None),
        ("[(1,5, 2,5)]", None),
    ],
)
def test_a_list_of_intervals(text: str, intervals: Any) -> None:
    assert reading(lambda glue: read_intervals(glue, 3), text) == intervals


@pytest.mark.parametrize(
    "text",
    ["**[0.1, 0.2, 0.5, 0.6]**", "［0.1，0.2，0.5，0.6］", "```json\n[[.1, .2, .5, .6]]\n```"]
    + ["(0.1, 0.2, 0.5, 0.6)", "（0.1，0.2，0.5，0.6）", "[(0.1, 0.2, 0.5, 0.6)]", "((0.1, 0.2, 0.5, 0.6))"]
    + ['{"bbox": [0.1, 0.2, 0.5, 0.6]}', '{"bbox_2d": [0.1, 0.2, 0.5, 0.6]}', "{'box': (0.1, 0.2, 0.5, 0.6)}"]
    + ['[{"bbox_2d": [0.1, 0.2, 0.5, 0.6]}]', '{"bbox": [[0.1, 0.2, 0.5, 0.6]]}']
    + [
        '{"x1": 0.1, "y1": 0.2, "x2": 0.5, "y2": 0.6}',
        '```json\n[{"x0":0.1,"y0":0.2,"x1":0.5,"y1":0.6}]\n```',
    ]
    + ["**[0.1, 0.2, 0.5, 0.6]"],
)
def test_a_box_in_the_forms_that_people_and_models_write(text: str) -> None:
    assert read_box(text) == (0.1, 0.2, 0.5, 0.6)


@pytest.mark.parametrize(
    "text",
    ["[10%, 20%, 50%, 60%]", "[0,1, 0,2, 0,5, 0,6]", "[0.1², 0.2, 0.5, 0.6]", "[0.1, 0.2, 0.5, 0.6] px"]
    + ['{"bbox_2d": [10, 20, 50, 60]}', "[0.\u200b1, 0.2, 0.5, 0.6]", "[0.1, 0.2, 0.5, −0.6]"]  # noqa: RUF001
    # Of pixels, in another order, of another kind, or with a bracket that does not fit.
    + ['{"bbox": [0.1, 0.2, 0.5, 60]}', '{"x1": 10, "y1": 20, "x2": 50, "y2": 60}', "{0.1, 0.2, 0.5, 0.6}"]
    + ['{"x1": 0.1, "x2": 0.5, "y1": 0.2, "y2": 0.6}', '{"x": 0.1, "y": 0.2, "w": 0.5, "h": 0.6}']
    + ['{"y1": 0.1, "x1": 0.2, "y2": 0.5, "x2": 0.6}', '{"x1": 0.1, "y1": 0.2, "x1": 0.5, "y1": 0.6}']
    + ['{"bbox": 0.1, 0.2, 0.5, 0.6}', '{"not": [0.1, 0.2, 0.5, 0.6]}', "(0.1, 0.2, 0.5, 0.6]"]
    + ["-(0.1, 0.2, 0.5, 0.6)", '{"bbox": [0.1, 0.2, 0.5, 0.6], "bbox": [0.2, 0.2, 0.5, 0.6]}']
    + ["(0.1, 0.2), (0.5, 0.6)", "0.1, 0.2, 0.5, 0.6", '{"bbox_xywh": [0.1, 0.2, 0.5, 0.6]}'],
)
def test_a_box_of_something_else_is_not_read(text: str) -> None:
    assert reading(read_box, text) is None


@pytest.mark.parametrize("form", ["[{}, {}]", "({}, {})", '{{"boxes": [{}, {}]}}'])
@pytest.mark.parametrize("box", ["[0.1, 0.2, 0.5, 0.6]", "(.1,.2,.5,.6)", '{{"bbox": [0.1, 0.2, 0.5, 0.6]}}'])
def test_a_track_in_the_same_forms(form: str, box: str) -> None:
    text = form.format(box.replace("{{", "{").replace("}}", "}"), "[0.2, 0.2, 0.5, 0.6]")
    assert read_boxes(text, 2) == ((0.1, 0.2, 0.5, 0.6), (0.2, 0.2, 0.5, 0.6))
    assert reading(lambda answer: read_boxes(answer, 3), text) is None


VALUES = st.one_of(st.integers(2, 999).map(float), st.integers(9, 9999).map(lambda eighths: eighths / 8))
WIDTHS = st.sampled_from(
    [str, lambda text: text.translate({code: code + 0xFEE0 for code in map(ord, "0123456789.")})]
)


@given(VALUES, st.sampled_from(sorted(AROUND)), WIDTHS)
def test_any_number_is_read_as_its_value_or_not_at_all(value: float, form: str, width: Any) -> None:
    factor = AROUND[form]
    read = reading(read_number, form.format(width(f"{value:g}")))
    assert read is None or (factor is not None and read == pytest.approx(factor * float(f"{value:g}")))


# A time of so many seconds, and forms in which the same text stands for an end of an interval.
TIMES: list[Callable[[int], str]] = [
    str,
    lambda s: f"{s}s",
    lambda s: f"{s} sec.",
    lambda s: f"{s // 60}:{s % 60:02d}",
    lambda s: f"{s // 3600}:{s // 60 % 60:02d}:{s % 60:02d}",
    lambda s: f"{s // 60} min {s % 60} s",
    lambda s: f"{s // 60}m{s % 60}s",
    lambda s: f"{s // 3600} h {s // 60 % 60} min {s % 60} s",
    lambda s: f"{s // 60} minutes and {s % 60} seconds",
    lambda s: f"{s // 60}分{s % 60}秒",
    lambda s: f"**{s}**",
    lambda s: f'"{s} s"',
    lambda s: f"~{s}",
    lambda s: f"{s / 60!r} min",
    lambda s: f"{s / 3600!r} hours",
    lambda s: f"{1000 * s} ms",
    lambda s: f"{s / 2!r}*2",
    lambda s: f"{s // 60}'{s % 60}\"",
    lambda s: f"{s // 60} min {s % 60}",
    lambda s: f"{s // 60} and {s % 60}/60 min",
    lambda s: f"{25 * s} frames",
    lambda s: f"{s // 10} tens",
    lambda s: f"{s // 60}½ min" if s % 60 == 30 else f"{s}²",
]
# Those without a unit of their own: a clock time has one.
BARE = [spell for spell in TIMES if re.fullmatch(r"[\W\d]+", spell(65)) and ":" not in spell(65)]
ONE_UNIT = [spell for spell in TIMES if spell(90) in ("1.5 min", "0.025 hours")]
JOINS = [
    "{} to {}",
    "{}–{}",
    "{} — {}",
    "from {} to {}",
    "{} → {}",
    "[{}, {}]",
    "({}, {})",
    "{}到{}",
    "start: {}, end: {}",
]  # noqa: RUF001
BACKWARDS = ['{{"end": {1}, "start": {0}}}', "end = {1}; start = {0}"]


@given(
    st.integers(1, 9000),
    st.integers(1, 9000),
    *[st.sampled_from(TIMES)] * 2,
    st.sampled_from(JOINS + BACKWARDS),
)
def test_any_interval_is_read_as_its_seconds_or_not_at_all(
    start: int, length: int, first: Callable[[int], str], second: Callable[[int], str], join: str
) -> None:
    seconds = (start, start + length)
    # A unit after the second number alone would be that of the first too, and is meant to be.
    assume(first not in BARE or second not in ONE_UNIT)
    read = reading(read_interval, join.format(first(seconds[0]), second(seconds[1])))
    assert read is None or read == pytest.approx(seconds, abs=1e-6)


@given(st.integers(1, 9000), st.sampled_from(TIMES))
def test_any_time_is_read_as_its_seconds_or_not_at_all(seconds: int, spell: Callable[[int], str]) -> None:
    read = reading(read_time, spell(seconds))
    assert read is None or read == pytest.approx(seconds, abs=1e-6)


@given(
    VALUES,
    VALUES,
    st.sampled_from(
        ["{} to {}", "{} - {}", "{}-{}", "from {}s to {} s", "[{}, {}]", "{} seconds and {} seconds"]
    ),
)
def test_usual_spellings_are_read_as_the_grammar_reads_them(first: float, second: float, join: str) -> None:
    """The quick path takes the bare form; a word more, and the grammar reads it."""
    text = join.format(first, second)
    assert read_interval(text) == read_interval(f"Well: {text}") == (first, second)
    listed = f"({first}, {second})"
    assert reading(lambda glue: read_intervals(glue, 3), f"[{listed}]") == reading(
        lambda glue: read_intervals(glue, 3), f"[ {listed} ]"
    )
    assert read_number(f"{first}") == read_number(f"It is {first}") == first


def seconds_of(read: Callable[[str], Any], text: str) -> float:
    """Processor time, the better of two."""
    took = []
    for _ in range(2):
        began = time.process_time()
        reading(read, text)
        took.append(time.process_time() - began)
    return min(took)


@pytest.mark.parametrize(
    "read",
    [read_interval, read_number, read_letter, lambda text: read_intervals(text, 3), read_box],
)
@pytest.mark.parametrize("run", RUNS)
def test_time_grows_with_the_length_and_no_faster(read: Callable[[str], Any], run: str) -> None:
    text = (run * 100_000)[:100_000]
    short, whole = seconds_of(read, f"7 to 9 {text[:25_000]}x"), seconds_of(read, f"7 to 9 {text}x")
    assert whole < 0.05 or whole < 10 * short
