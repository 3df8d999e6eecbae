"""Damaged configurations: each is read, or refused by one message of the project's own, at once.

The quick one takes a few hundred; `pytest -m slow tests/cluster/test_fuzzed_config.py` takes 20,000.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.config.loading import load_config, read_config, to_yaml
from cluster.errors import ConfigError
from cluster.planning.dry_run import print_plan
from rewards.terminal import Terminal

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").rglob("*.yaml"))
MOST_SECONDS = 2.0
TOKENS = [
    *("&a ", "*a", "<<: *a", "!!set ", "!!timestamp ", "!!binary ", "!!python/object:os.system ", "!x "),
    *("%YAML 9.9\n", '"\\ud800"', '"\\UFFFFFFFF"', '"\\0"', "\x00", "\ud800", "\u202e", "\ufeff", "\x85"),
    *("\u2028", "\t", "\r", "\x1b[2J", "9" * 5000, "9" * 30, "1_", "-", "1e999", ".nan", "-.inf", "0x10"),
    *("0777", "1:30", "~", "null", "true", "''", "[", "]", "{", "}", "[" * 200, "{a: " * 200, ": ", ":"),
    *("- ", "? ", "|", ">", "#", "'", '"', "@", "`", ",", "\n---\n", "[/]", "${HOME}", "${"),
    *("extends: x\n", "extends: {}\n", "run: [1]\n", "data: {datasets: [{}, 1, null]}\n", "a.b: 1\n"),
    *("a/" * 3000, "..", "~nobody", "[[]]: 1\n", "{}: 1\n", "1: 2\n", "null: 3\n"),
    "reward: {custom: {tracking: a.b}}\n",
]


def insert(random_: random.Random, text: str) -> str:
    place = random_.randrange(len(text) + 1)
    return text[:place] + random_.choice(TOKENS) + text[place:]


def cut(random_: random.Random, text: str) -> str:
    first, last = sorted(random_.randrange(len(text) + 1) for _ in range(2))
    return text[:first] + text[last:]


def swap_value(random_: random.Random, text: str) -> str:
    lines = text.split("\n")
    places = [n for n, line in enumerate(lines) if ": " in line] or [0]
    place = random_.choice(places)
    lines[place] = f"{lines[place].partition(': ')[0]}: {random_.choice(TOKENS)}"
    return "\n".join(lines)


def move_line(random_: random.Random, text: str) -> str:
    lines = text.split("\n")
    line = random_.choice(lines)
    lines.insert(random_.randrange(len(lines) + 1), " " * random_.randrange(6) + line.lstrip())
    return "\n".join(lines)


def change_character(random_: random.Random, text: str) -> str:
    place = random_.randrange(max(len(text), 1))
    return (
        text[:place]
        + chr(random_.choice([*range(128), 0x85, 0xD800, 0x202E, 0xFFFF, 0x1F600]))
        + text[place + 1 :]
    )


CHANGES: list[Callable[[random.Random, str], str]] = [insert, cut, swap_value, move_line, change_character]


def check(path: Path, shows: bool) -> str:
    """How a file is taken, `valid`, `mistakes` or `refused`; everything else raises."""
    try:
        loaded = read_config(path)
    except ConfigError as error:
        assert str(path.parent) in str(error)
        return "refused"
    if loaded.problems:
        assert str(loaded.error(loaded.problems))
        return "mistakes"
    again = path.with_name("again.yaml")
    again.write_text(to_yaml(loaded.config), encoding="utf-8")
    assert load_config(again) == loaded.config
    if shows:
        print_plan(loaded, console=Terminal(file=io.StringIO()))
    return "valid"


def fuzz(folder: Path, seeds: range) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in CONFIGS}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    found = set()
    for seed in seeds:
        random_ = random.Random(seed)
        text = texts[random_.choice(sorted(texts))]
        for _ in range(random_.randint(1, 3)):
            text = random_.choice(CHANGES)(random_, text)
        path = folder / "fuzzed.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        began = time.process_time()
        try:
            found.add(check(path, shows=seed % 10 == 0))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r} of {text!r}") from error
        assert time.process_time() - began < MOST_SECONDS, f"seed {seed}: {text!r}"
    assert found == {"valid", "mistakes", "refused"}


def test_a_damaged_configuration_is_read_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path, range(300, 500))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_many_damaged_configurations_are_read_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path, range(20_000))
