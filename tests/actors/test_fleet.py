"""Calls to real Ray actors end: with results in order, with the first failure, or at the deadline."""

from __future__ import annotations

import time
from typing import Any

import pytest

from actors.fleet import call, collect, stop
from data.failures import ActorFailure
from tests.actors.obedient import start_actors


@pytest.fixture(scope="module")
def actors(ray_cluster: None) -> dict[str, Any]:
    return start_actors()


def test_results_keep_their_order(actors: dict[str, Any]) -> None:
    refs = [actors["a"].wait.remote(0.3), actors["b"].wait.remote(0.0), actors["a"].wait.remote(0.1)]
    assert collect(refs, ["a", "b", "a"], "waiting", 30) == ["a", "b", "a"]
    assert call(actors, "wait", 0, what="waiting", deadline_s=30) == {"a": "a", "b": "b"}


def test_the_first_failure_wins_over_waiting(actors: dict[str, Any]) -> None:
    start = time.monotonic()
    with pytest.raises(
        ActorFailure, match="(?s)b failed while trying.*b cannot do that.*Try again"
    ) as failure:
        refs = [actors["a"].wait.remote(60), actors["b"].fail.remote()]
        collect(refs, ["a", "b"], "trying", 60, advice="Try again.")
    assert failure.value.name == "b"
    assert time.monotonic() - start < 50, "the other was waited for"


def test_a_deadline_names_those_that_did_not_answer(actors: dict[str, Any]) -> None:
    refs = [actors["a"].wait.remote(60), actors["b"].wait.remote(0)]
    with pytest.raises(ActorFailure, match="no answer within 1 s") as failure:
        collect(refs, ["a", "b"], "waiting", 1.0)
    assert failure.value.name == "a"


def test_a_death_is_found_within_seconds(ray_cluster: None) -> None:
    actors = start_actors()
    start = time.monotonic()
    refs = [actors["a"].wait.remote(60), actors["b"].wait.remote(60)]
    actors["b"].die.remote()
    with pytest.raises(ActorFailure, match="(?s)b failed while waiting.*died unexpectedly") as failure:
        collect(refs, ["a", "b"], "waiting", 60)
    assert failure.value.name == "b"
    assert time.monotonic() - start < 50, "the other was waited for"


def test_a_relayed_failure_names_its_origin(actors: dict[str, Any]) -> None:
    with pytest.raises(ActorFailure) as failure:
        collect([actors["a"].relay.remote()], ["a"], "relaying", 30)
    assert failure.value.name == "someone-else"


def test_stopped_actors_are_gone(ray_cluster: None) -> None:
    actors = start_actors()
    stop(actors, deadline_s=1)
    with pytest.raises(ActorFailure, match="a failed while waiting"):
        call({"a": actors["a"]}, "wait", 60, what="waiting", deadline_s=30)
