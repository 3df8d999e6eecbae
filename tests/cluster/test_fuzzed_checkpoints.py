"""Damaged checkpoint folders: each is skipped, used or refused by one message of the project's own, at once.

The quick one takes a few hundred; `pytest -m slow tests/cluster/test_fuzzed_checkpoints.py` takes 20,000.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import RunFailure
from cluster.training.frontier import cold_start_step, last_frontier
from learner.checkpoint import CheckpointError, check_layout, newest_complete, seal, unfinished_name
from tests.cluster.fakes import make_config

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    1e999,
    10**40,
    "",
    "../../x",
    "\ud800",
    [],
    [[]],
    [1, 2],
    {},
    {"a": 1},
]
PATHS = ["manifest.json", "client_state.json", "weights.pt", "latest"]


def change_value(random_: random.Random, value: Any) -> Any:
    """The value with one somewhere inside replaced, taken away or added."""
    if isinstance(value, dict) and value and random_.random() < 0.8:
        key = random_.choice(list(value))
        changed = dict(value)
        kept = changed.pop(key)
        return changed if random_.random() < 0.3 else changed | {key: change_value(random_, kept)}
    if isinstance(value, dict) and random_.random() < 0.5:
        return value | {"more": random_.choice(VALUES)}
    return random_.choice(VALUES)


def damage_file(random_: random.Random, path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b""
    place = random_.randrange(len(content) + 1)
    kind = random_.randrange(6)
    if kind == 0:
        path.unlink(missing_ok=True)
    elif kind == 1:
        path.write_bytes(content[:place])
    elif kind == 2:
        path.write_bytes(content[:place] + bytes([random_.randrange(256)]) + content[place + 1 :])
    elif kind == 3:
        path.write_bytes(random_.choice([b"[" * 100_000, b"\xff\xfe", b"null", b"9" * 6000, b'{"a":' * 5000]))
    elif path.suffix == ".json" and path.is_file():
        changed = json.dumps(change_value(random_, json.loads(content)))
        path.write_text(changed)
        if path.name == "client_state.json":
            manifest = json.loads((path.parent / "manifest.json").read_text())
            manifest["bytes"][path.name] = len(changed)
            (path.parent / "manifest.json").write_text(json.dumps(manifest))
    else:
        path.unlink(missing_ok=True)
        path.mkdir()


def fuzz(run_dir: Path, seeds: range) -> None:
    config = make_config(run_dir)
    found = set()
    for seed in seeds:
        random_ = random.Random(seed)
        shutil.rmtree(run_dir, ignore_errors=True)
        for name in ("checkpoints", "cold_start_checkpoints"):
            folder = run_dir / name
            for step in (2, 4):
                (folder / unfinished_name(step)).mkdir(parents=True)
                (folder / unfinished_name(step) / "weights.pt").write_bytes(b"w" * 10)
                state = {"step": step, "version": step, "curriculum": {"seen": 3}, "drawn": [[1, "p"]]}
                seal(folder, step, state, {"learner ranks": 1}, keep=2)
            damaged = folder / f"step-0000000{random_.choice((2, 4))}"
            damage_file(random_, damaged / random_.choice(PATHS))
        began = time.process_time()
        try:
            found.add(use(config))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        assert time.process_time() - began < 2, f"seed {seed}"
    assert found >= {"used", "refused"}


def use(config: Any) -> str:
    """What a resumed run reads of its checkpoints before it starts anything; `used` or `refused`."""
    newest, problems = newest_complete(config.run_dir / "checkpoints")
    assert all("\n" not in problem and "skipped checkpoint" in problem for problem in problems)
    try:
        if newest:
            check_layout(newest, {"learner ranks": 1})
        assert last_frontier(config).step >= 0
        cold_start_step(config)
    except (CheckpointError, RunFailure) as error:
        assert "\n" not in str(error)
        return "refused"
    return "used"


def test_a_damaged_checkpoint_is_skipped_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path / "run", range(200))


@pytest.mark.slow
@pytest.mark.timeout(7200)  # each is written to the disk, which may be busy
def test_many_damaged_checkpoints_are_skipped_or_refused(tmp_path: Path) -> None:
    fuzz(tmp_path / "run", range(20_000))
