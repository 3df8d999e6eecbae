"""A dead engine's failure names its log and quotes the end of it, where the cause is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from actors import engine_log
from actors.engine_log import EngineFailure, end_of, quoting_engine_log
from data.failures import describe_failure


def died() -> RuntimeError:
    return RuntimeError("EngineCore encountered an issue. See stack trace (above) for the root cause.")


@ray.remote(num_cpus=0)
class Worker:
    """Its engine writes why it died where a process of vLLM does, and says only that it did."""

    @quoting_engine_log
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
    monkeypatch.setattr(engine_log, "STANDARD_ERROR", str(path))
    return path


async def ends_with(error: Exception) -> Any:
    @quoting_engine_log
    async def fail() -> None:
        raise error

    return await fail()


def run(error: Exception) -> None:
    import asyncio

    asyncio.run(ends_with(error))


def test_other_errors_are_left_as_they_are(log: Path) -> None:
    with pytest.raises(ValueError, match="^too long$"):
        run(ValueError("too long"))
    with pytest.raises(EngineFailure, match="why"):
        run(died())


def test_without_a_log_the_error_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_log, "STANDARD_ERROR", "/dev/null")
    with pytest.raises(RuntimeError, match="^EngineCore"):
        run(died())


def test_a_long_log_is_quoted_at_its_end(log: Path) -> None:
    log.write_text("x\n" * 100_000 + "a" * 1000 + "\n\nlast\n")
    assert end_of(log)[-2:] == ["a" * 300, "last"] and len(end_of(log)) == 10
