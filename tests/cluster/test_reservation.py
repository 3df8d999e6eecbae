"""All actors of a run get their places together; on a GPU that both sides share, one side starts after the other."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import ray

from cluster.planning.placement import Role, placement, share_gpus
from cluster.runtime.reservation import Reservation
from cluster.runtime.system import System
from data.failures import ActorFailure
from tests.cluster.fakes import make_config

SHARED = {"rollout": {"gpus_per_worker": 0.45}, "learner": {"gpus_per_worker": 0.45}}


def roles(cpus: float = 0.5) -> list[Role]:
    return [
        Role("rollout worker", 2, cpus, 0, 1, ()),
        Role("idler", 2, 0, 0, 1, ()),
        Role("rank", 1, 1, 0, 1, ()),
    ]


@ray.remote
class Placed:
    """Knows the placement group it is in."""

    def group(self) -> str | None:
        group = ray.util.get_current_placement_group()
        return group.id.hex() if group else None


def test_every_role_lies_in_one_reservation(ray_cluster: None) -> None:
    reservation = Reservation(roles(), deadline_s=30)
    options = {role.name: reservation.options(role.name) for role in roles()}
    bundles = [each["scheduling_strategy"].placement_group_bundle_index for each in options["rollout worker"]]
    assert bundles == [0, 1]
    actors = [Placed.options(**each).remote() for its in options.values() for each in its]  # type: ignore[attr-defined]
    found = ray.get([actor.group.remote() for actor in actors], timeout=60)
    assert found[0] and found == [found[0], found[0], None, None, found[0]]
    reservation.release()
    reservation.release()


def test_what_one_run_has_reserved_another_cannot_take(ray_cluster: None) -> None:
    """Between check and start, a rank would otherwise wait behind another job's, holding GPUs all the while."""
    first = Reservation(roles(3.5), deadline_s=30)
    with pytest.raises(
        ActorFailure, match="(?s)reserving {'CPU': 3.5} for 2 rollout workers.*free are:"
    ) as failure:
        Reservation(roles(3.5), deadline_s=1)
    assert "Wait until other jobs" in failure.value.advice
    first.release()
    Reservation(roles(3.5), deadline_s=30).release()


def test_gpus_are_shared_where_both_sides_take_a_part() -> None:
    assert share_gpus(make_config(**SHARED))
    assert not share_gpus(make_config(rollout={"gpus_per_worker": 0.45}, learner={"gpus_per_worker": 1.0}))
    assert not share_gpus(make_config())


@pytest.mark.parametrize(("sections", "waits"), [(SHARED, True), ({}, False)])
def test_on_a_shared_gpu_the_learner_starts_after_the_engine(
    sections: dict[str, dict[str, float]], waits: bool
) -> None:
    """An engine that starts beside it would size its cache by whatever the learner takes just then."""
    engine: Future[None] = Future()
    started = threading.Event()
    this = SimpleNamespace(_config=make_config(**sections), _starting=engine)
    learner = SimpleNamespace(start=lambda deadline_s: started.set())
    thread = threading.Thread(target=System._start_learner, args=(this, learner))
    thread.start()
    assert started.wait(0.2) == (not waits)
    engine.set_result(None)
    thread.join(10)
    assert started.is_set()


def test_an_engine_that_did_not_start_is_what_the_learner_reports() -> None:
    engine: Future[None] = Future()
    engine.set_exception(ActorFailure("rollout-0", "starting vLLM", "no memory"))
    this = SimpleNamespace(_config=make_config(**SHARED), _starting=engine)
    with pytest.raises(ActorFailure, match="rollout-0 failed while starting vLLM"):
        System._start_learner(this, SimpleNamespace())  # type: ignore[arg-type]


def test_a_run_reserves_what_it_announces() -> None:
    assert {role.name for role in placement(make_config())} == {
        "video loader",
        "rollout worker",
        "reward worker",
        "learner rank",
    }
