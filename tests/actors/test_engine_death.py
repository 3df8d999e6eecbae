"""A dead engine's failure names its log and quotes the end of it, where the cause is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import ray

from actors import engine_death
from actors.engine_death import EngineFailure, end_of, unless_engine_dies
from data.failures import describe_failure


def died() -> RuntimeError:
    return RuntimeError("EngineCore encountered an issue. See stack trace (above) for the root cause.")


@ray.remote(num_cpus=0)
class Worker:
    """Its engine writes why it died where a process of vLLM does, and says only that it did."""

    _engine = None

    @unless_engine_dies
    async def generate(self) -> None:
        import os

        os.write(2, b"ERROR loading\n\nValueError: no room for the KV cache\n")
        raise died()


def test_the_cause_reaches_the_driver(ray_cluster: None) -> None:
    worker = Worker.remote()  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="KV cache") as raised:
        ray.get(worker.generate.remote())
    words = describe_failure("rollout-0", "sampling responses", raised.value).last_words
    assert "ValueError: no room for the KV cache" in words
    assert "the engine died; /tmp/" in words and ".err on " in words


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "worker.err"
    path.write_text("why\n")
    monkeypatch.setattr(engine_death, "STANDARD_ERROR", str(path))
    return path


class Engine:
    """Its client marks it as dead, as vLLM's does."""

    errored = False
    dead_error = died()


class Waiting:
    """A worker whose calls end as they are told to, or not at all."""

    def __init__(self) -> None:
        self._engine: Any = Engine()

    @unless_engine_dies
    async def fail(self, error: Exception) -> None:
        raise error

    @unless_engine_dies
    async def wait_for_ever(self) -> None:
        await asyncio.get_running_loop().create_future()

    @unless_engine_dies
    async def be_slow(self) -> str:
        await asyncio.sleep(3 * engine_death.POLL_SECONDS)
        return "done"


def run(error: Exception) -> None:
    asyncio.run(Waiting().fail(error))


def test_a_call_that_is_under_way_ends_with_its_engine(log: Path) -> None:
    async def scene() -> None:
        worker = Waiting()
        call = asyncio.ensure_future(worker.wait_for_ever())
        await asyncio.sleep(2 * engine_death.POLL_SECONDS)
        assert not call.done()
        worker._engine.errored = True
        with pytest.raises(EngineFailure, match="why"):
            await asyncio.wait_for(call, 30)

    asyncio.run(scene())


def test_a_slow_call_of_a_live_engine_ends_by_itself() -> None:
    assert asyncio.run(Waiting().be_slow()) == "done"


def test_a_call_that_is_given_up_is_ended() -> None:
    async def scene() -> None:
        call = asyncio.ensure_future(Waiting().wait_for_ever())
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scene())


def test_other_errors_are_left_as_they_are(log: Path) -> None:
    with pytest.raises(ValueError, match="^too long$"):
        run(ValueError("too long"))
    with pytest.raises(EngineFailure, match="why"):
        run(died())


def test_without_a_log_the_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_death, "STANDARD_ERROR", "/dev/null")
    with pytest.raises(RuntimeError, match="^EngineCore"):
        run(died())


def test_a_long_log_is_quoted_at_its_end(log: Path) -> None:
    log.write_text("x\n" * 100_000 + "a" * 1000 + "\n\nlast\n")
    assert end_of(log)[-2:] == ["a" * 300, "last"] and len(end_of(log)) == 10
