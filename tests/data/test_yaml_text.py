"""Scalars as YAML 1.2 has them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from data.yaml_text import read_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-3.", -3.0),
        ("010", 10),
        ("1_000", 1000),
        ("-7", -7),
        ("off", "off"),
        ("yes", "yes"),
        ("true", True),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("a-b", "a-b"),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("'1'", "1"),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["{steps:5}", "[{a: 1, steps:5}]", "{a: {steps:5, b: 2}}"])
def test_a_colon_without_a_space_is_named(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="`steps:5` needs a space after the colon, `steps: 5`"):
        read_value(text)


def test_colons_within_keys_and_values_stay() -> None:
    assert read_value("{a:b: 1, 'c:d': , e, f: g:h}") == {"a:b": 1, "c:d": None, "e": None, "f": "g:h"}
