"""YAML from anybody: its values, or one error with its line, at once."""

from __future__ import annotations

import time

import pytest
import yaml

from data.yaml_text import MOST_CHARACTERS, MOST_LEVELS, read_value, yaml_reason

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)
# Each anchor is as deep as may be, and repeats the one before.
STAIRS = "\n".join(["a0: &a0 x"] + [f"a{n}: &a{n} {'[' * 20}*a{n - 1}{']' * 20}" for n in range(1, 9)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "more than 10,000 values, repeated ones counted each time (line 5, column"),
        (STAIRS, "nested deeper than 50 levels (line 4, column"),
        ("a: 1\nb: &b\n  - *b", "`*b` stands inside of what it repeats (line 3, column 5)"),
        ("a: &a {b: {c: *a}}", "stands inside of what it repeats (line 1, column 15)"),
        ("a: *nothing", "found undefined alias 'nothing' (line 1, column 4)"),
        ("a:\n  <<: {b: 1}", "YAML 1.2 has no merge key; write the fields out (line 2, column 3)"),
        ("a: !!timestamp 2001-01-01", "the tag 'tag:yaml.org,2002:timestamp' is not taken"),
        ("a:\n - !!binary aGk=", "2002:binary' is not taken; write the value without it (line 2, column 4)"),
        ("a: !!set {b, c}", "2002:set' is not taken"),
        ("a: !!omap [b: 1]", "2002:omap' is not taken"),
        ("a: !!bool x", "2002:bool' is not taken"),
        ("a: !!float x", "2002:float' is not taken"),
        ("a: !!python/name:os.system", "python/name:os.system' is not taken"),
        (
            "%TAG ! tag:yaml.org,2002:\n---\na: !timestamp 2001-01-01",
            "write the value without it (line 3",
        ),
        ("a: !own 1", "the tag '!own' is not taken"),
        ('a: 1\nb: "\\ud800"', "the character U+D800 cannot be used (line 2, column 4)"),
        ('"\\udfff": 1', "the character U+DFFF cannot be used (line 1, column 1)"),
        ('a: "x\\0y"', "the character U+0000 cannot be used (line 1, column 4)"),
        ("a: 1\nb: x\x00", "the character U+0000 cannot be used (line 2, column 5)"),
        ("a: 1\nb: \ud800", "the character U+D800 cannot be used (line 2, column 4)"),
        ('a: "\\UFFFFFFFF"', "(line 1, column"),
        (
            "a: 1\nb: " + "9" * 20,
            "a number of 20 digits; the largest is 9223372036854775807 (line 2, column 4)",
        ),
        ("a: " + "9" * 5000, "a number of 5000 digits (line 1, column 4)"),
        ("a: " + "[" * 5000, f"nested deeper than {MOST_LEVELS} levels (line 1, column"),
        ("{a: " * 200, "nested deeper than 50 levels"),
        ("\n".join(" " * n + "a:" for n in range(200)), "nested deeper than 50 levels (line 50"),
        ("- x\n" * 20_000, "more than 10,000 values"),
        ("x" * (MOST_CHARACTERS + 1), "a configuration has at most 262,144"),
        ("? [a, b]\n: 1", "found unhashable key (line 1, column 3)"),
        ("a: 1\n--- \nb: 1", "(line 2, column 1)"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(text: str, reason: str) -> None:
    began = time.monotonic()
    with pytest.raises(yaml.YAMLError) as error:
        read_value(text)
    assert reason in yaml_reason(error.value)
    assert time.monotonic() - began < 2


def test_aliases_within_bounds_and_tags_of_text_are_read() -> None:
    text = "a: &a {b: [1, 2.5, true, null]}\nc: [*a, *a]\nd: !!str 5\ne: ! x\nf: !!map {g: !!seq []}"
    inner = {"b": [1, 2.5, True, None]}
    assert read_value(text) == {"a": inner, "c": [inner, inner], "d": "5", "e": "x", "f": {"g": []}}
