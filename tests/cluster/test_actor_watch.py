"""An actor that dies while nobody waits for it is noticed; one that is busy, or was ended on purpose, is not."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import ray

from cluster.runtime import actor_watch
from cluster.runtime.actor_watch import ActorWatch
from data.failures import ActorFailure

pytestmark = pytest.mark.e2e


class Sleeper:
    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actor_watch, "INTERVAL_SECONDS", 0.2)
    monkeypatch.setattr(actor_watch, "GRACE_SECONDS", 0.2)


@pytest.fixture
def actors(ray_cluster: None) -> dict[str, Any]:
    found = {name: ray.remote(Sleeper).options(num_cpus=0).remote() for name in ("idle", "busy")}
    ray.get([actor.__ray_ready__.remote() for actor in found.values()], timeout=60)
    return found


def test_a_death_is_told_by_name_while_others_are_busy(actors: dict[str, Any]) -> None:
    woken = threading.Event()
    with ActorWatch(lambda: actors, woken.set) as watch:
        actors["busy"].sleep.remote(60)
        time.sleep(1.0)
        assert watch.failure is None
        ray.kill(actors["idle"])
        assert woken.wait(120)
    assert watch.failure is not None and watch.failure.name == "idle"
    ray.kill(actors["busy"])


def test_an_actor_ended_on_purpose_is_no_failure(actors: dict[str, Any]) -> None:
    woken = threading.Event()
    with ActorWatch(lambda: dict(actors), woken.set) as watch:
        time.sleep(1.0)
        ray.kill(actors.pop("idle"))
        assert not woken.wait(2.0)
    assert watch.failure is None
    ray.kill(actors["busy"])


def test_actors_that_did_not_come_up_are_told(ray_cluster: None) -> None:
    def broken() -> dict[str, Any]:
        raise ActorFailure("rollout-0", "starting vLLM", "no memory")

    woken = threading.Event()
    with ActorWatch(broken, woken.set) as watch:
        assert woken.wait(120)
    assert watch.failure is not None and watch.failure.name == "rollout-0"


def test_what_the_main_thread_tells_itself_is_not_told_twice(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the watch within the grace."""
    monkeypatch.setattr(actor_watch, "GRACE_SECONDS", 60.0)

    def broken() -> dict[str, Any]:
        raise ActorFailure("rollout-0", "starting vLLM", "no memory")

    woken = threading.Event()
    with ActorWatch(broken, woken.set):
        time.sleep(0.3)
    assert not woken.is_set()
