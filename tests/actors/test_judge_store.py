"""The judge's file: verdicts that it cannot hold are asked anew, and a file that is broken or foreign is set aside."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from actors.judge_reply import EndpointError
from actors.judge_store import TABLES, JudgeStore, request_key

REQUEST = {"model": "m"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "judge.sqlite"


def run(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.executescript(statement)
    connection.close()


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob("judge.sqlite.set-aside-*"))


def test_verdicts_are_kept_and_requests_counted(path: Path) -> None:
    store = JudgeStore(path)
    assert (store.get(REQUEST, 2), store.spent) == (None, 0)
    store.put(REQUEST, [True, False])
    assert (store.spend(1), store.spend(1)) == (True, False)
    again = JudgeStore(path)
    assert (again.get(REQUEST, 2), again.spent, again.problem) == ([True, False], 1, None)


@pytest.mark.parametrize(
    "verdicts",
    [
        *(
            "1000000",
            "true",
            "[1000000, 0]",
            "[true]",
            "[true, false, true]",
            '["true", "false"]',
            "[true, null]",
        ),
        *(
            "[1, 0]",
            "[1.0, 0.0]",
            "NaN",
            "{}",
            '{"0": true, "1": false}',
            "",
            "no",
            "[" * 100_000,
            "9" * 5000,
        ),
    ],
)
def test_verdicts_that_another_wrote_are_none(path: Path, verdicts: str) -> None:
    store = JudgeStore(path)
    store._connection.execute("INSERT INTO answers VALUES (?, ?)", (request_key(REQUEST), verdicts))
    assert store.get(REQUEST, 2) is None
    store.put(REQUEST, [True, False])
    assert store.get(REQUEST, 2) == [True, False]


def test_a_blob_is_no_verdict(path: Path) -> None:
    store = JudgeStore(path)
    store._connection.execute("INSERT INTO answers VALUES (?, ?)", (request_key(REQUEST), b"[true, false]"))
    assert store.get(REQUEST, 2) is None


def foreign(path: Path) -> None:
    run(path, "CREATE TABLE photos (name TEXT)", "INSERT INTO photos VALUES ('a cat')")


def other_columns(path: Path) -> None:
    run(path, "CREATE TABLE answers (question TEXT, verdict TEXT)")


def odd_count(path: Path) -> None:
    run(path, TABLES, "UPDATE spending SET requests = 'many'")


def negative_count(path: Path) -> None:
    run(path, TABLES, "UPDATE spending SET requests = -5")


def no_database(path: Path) -> None:
    path.write_bytes(b"not a database, whatever its name says. " * 100)


def torn(path: Path) -> None:
    store = JudgeStore(path)
    for number in range(500):
        store.put({"number": number}, [True] * 50)
    store._connection.close()
    content = bytearray(path.read_bytes())
    content[8192:20000] = b"\xff" * (20000 - 8192)
    path.write_bytes(content)


def cut(path: Path) -> None:
    torn(path)
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    "damage",
    [foreign, other_columns, odd_count, negative_count, no_database, torn, cut],
    ids=lambda it: it.__name__,
)
def test_a_broken_or_foreign_file_is_set_aside(path: Path, damage: object) -> None:
    damage(path)  # type: ignore[operator]
    before = path.read_bytes()
    store = JudgeStore(path)
    (kept,) = aside(path)
    assert kept.read_bytes() == before, "nothing of it is lost"
    assert store.problem and str(path) in store.problem and kept.name in store.problem
    assert len(store.problem.splitlines()) == 1
    store.put(REQUEST, [True])
    assert (store.get(REQUEST, 1), store.spent) == ([True], 0)
    assert JudgeStore(path).problem is None


def test_a_file_that_breaks_while_it_is_used_is_set_aside(path: Path) -> None:
    store = JudgeStore(path)
    store.put(REQUEST, [True])
    torn_path = path.with_name("other.sqlite")
    torn(torn_path)
    path.write_bytes(torn_path.read_bytes())
    for number in range(500):
        store.get({"number": number}, 50)
    assert store.problem
    store.put(REQUEST, [True])
    assert store.get(REQUEST, 1) == [True]


def test_workers_that_start_at_a_time_set_it_aside_once(path: Path) -> None:
    no_database(path)
    with ThreadPoolExecutor(8) as pool:
        problems = list(pool.map(lambda number: JudgeStore(path).problem, range(8)))
    assert sum(problem is not None for problem in problems) == 1
    assert len(aside(path)) == 1


def test_a_file_that_cannot_be_opened_is_an_endpoint_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(EndpointError, match=r"judge\.sqlite \(judge\.cache\) fails"):
        JudgeStore(path)
    with pytest.raises(EndpointError, match=r"judge\.cache"):
        JudgeStore(Path("/dev/null/judge.sqlite"))
