"""What actors reserve, and what is said when the cluster has not got it."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.config.loading import load_config
from cluster.config.problems import Problem
from cluster.planning.placement import placement, shortages

EIGHT_GPUS = {
    "rollout": {"num_workers": 4, "gpus_per_worker": 1.0, "cpus_per_worker": 4.0},
    "learner": {"num_workers": 4, "gpus_per_worker": 1.0, "cpus_per_worker": 4.0},
    "data": {"num_loaders": 2, "cpus_per_loader": 1.0},
}


def short(sections: dict[str, Any], *nodes: dict[str, float]) -> list[Problem]:
    return list(shortages(placement(RunConfig.model_validate(sections)), nodes, "the cluster"))


def test_every_worker_count_and_share_is_in_the_placement() -> None:
    sections: dict[str, Any] = {
        "data": {"num_loaders": 2, "cpus_per_loader": 0.5},
        "rollout": {
            "num_workers": 3,
            "cpus_per_worker": 1.5,
            "tensor_parallel_size": 2,
            "gpus_per_worker": 2.0,
        },
        "reward": {"num_workers": 4, "cpus_per_worker": 0.25},
        "learner": {
            "num_workers": 5,
            "cpus_per_worker": 2.0,
            "gpus_per_worker": 1.0,
            "threads_per_worker": 7,
        },
    }
    roles = placement(RunConfig.model_validate(sections))
    assert [(r.name, r.count, r.cpus, r.gpus, r.threads) for r in roles] == [
        ("video loader", 2, 0.5, 0, 1),
        ("rollout worker", 3, 1.5, 2.0, 2),
        ("reward worker", 4, 0.25, 0, 1),
        ("learner rank", 5, 2.0, 1.0, 7),
    ]


def test_more_gpus_than_the_cluster_has() -> None:
    (problem,) = short(EIGHT_GPUS, {"CPU": 64.0, "GPU": 4.0})
    assert problem.message == (
        "the run asks for 8 GPUs (rollout workers 4 x 1, learner ranks 4 x 1); the cluster has 4"
    )
    assert problem.keys == (
        "rollout.num_workers",
        "rollout.gpus_per_worker",
        "learner.num_workers",
        "learner.gpus_per_worker",
    )


def test_more_of_both() -> None:
    cpus, gpus = short(EIGHT_GPUS, {"CPU": 2.0})
    assert "asks for 34.1 CPUs" in cpus.message
    assert "the cluster has 2" in cpus.message
    assert "the cluster has 0" in gpus.message


def test_enough() -> None:
    assert short(EIGHT_GPUS, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 32.0, "GPU": 4.0}) == []


def test_an_engine_does_not_fit_across_nodes() -> None:
    sections = {"rollout": {"tensor_parallel_size": 4, "gpus_per_worker": 4.0}}
    nodes = [{"CPU": 8.0, "GPU": 2.0}] * 4
    (problem,) = short(sections, *nodes)
    assert "4 GPUs on one node; the largest node of the cluster has 2" in problem.message


@pytest.mark.parametrize("count", [1, 2])
def test_two_of_each_fit_on_two_cores(count: int) -> None:
    keys = ("data.num_loaders", "rollout.num_workers", "reward.num_workers", "learner.num_workers")
    config = load_config("configs/local.yaml", [f"{key}={count}" for key in keys])
    assert list(shortages(placement(config), [{"CPU": 2.0}], "this machine")) == []


def test_three_of_each_do_not() -> None:
    config = load_config("configs/local.yaml", ["rollout.num_workers=3", "learner.num_workers=4"])
    assert list(shortages(placement(config), [{"CPU": 2.0}], "this machine"))
