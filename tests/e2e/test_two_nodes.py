"""A head and a second node, each with files and ports of its own: a run's actors are placed on both."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.e2e.clusters import Cluster, closed_cluster
from tests.e2e.launching import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600)]

# Two reward workers take 1.5 CPUs each, so that no node of 2 has room for both. They score four responses, and a task
# in the place of each says which node it is on.
DRIVER = """
import json, os, sys
import ray
from cluster.config import RunConfig
from cluster.planning.placement import placement
from cluster.runtime.ray_session import ray_session
from cluster.runtime.reservation import Reservation
from cluster.runtime.system import RewardPool
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt

config = RunConfig.model_validate({
    "ray": {"address": sys.argv[1]},
    "data": {"cache_gib": 0.05, "cpus_per_loader": 0.25},
    "reward": {"num_workers": 2, "cpus_per_worker": 1.5},
    "rollout": {"cpus_per_worker": 0.25},
    "learner": {"cpus_per_worker": 0.25},
})
with ray_session(config):
    reservation = Reservation(placement(config), 60)
    pool = RewardPool(config, print, reservation.options("reward worker"))
    prompt = VideoPrompt("p", Task.MULTIPLE_CHOICE, "clip.mp4", "which?", {"answer": "A"}, 4.0, ("x", "y"))
    response = Response(0, [1], "<think>hm</think><answer>A</answer>", [-0.1], "stop", [(0, 1, 0)])
    scores = pool.score([Rollout(prompt, [1], [response])] * 4)
    place = lambda: ray.get_runtime_context().get_node_id()
    rewards = reservation.options("reward worker")
    pool.shutdown()
    nodes = [ray.get(ray.remote(place).options(**options).remote()) for options in rewards]
    print(json.dumps([[score.rewards["accuracy"] for (score,) in scores], nodes]))
    reservation.release()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with closed_cluster(nodes=2) as started:
        deadline = time.monotonic() + 120
        while nodes_alive(started) < 2:
            assert time.monotonic() < deadline, "the second node did not join"
            time.sleep(1)
        yield started


def nodes_alive(cluster: Cluster) -> int:
    answer = cluster.scrape(f"{cluster.dashboard}/nodes?view=summary")
    nodes = json.loads(answer)["data"]["summary"] if answer else []
    return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)


def drive(cluster: Cluster, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DRIVER, cluster.address],
        cwd=ROOT,
        env=cluster.environment() | environment,
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_actors_of_a_run_are_placed_on_both_nodes(cluster: Cluster) -> None:
    finished = drive(cluster)
    assert finished.returncode == 0, finished.stderr
    accuracies, nodes = json.loads(finished.stdout.splitlines()[-1])
    assert accuracies == [1.0] * 4
    assert len(set(nodes)) == 2


def test_a_driver_without_the_token_is_turned_away(cluster: Cluster) -> None:
    finished = drive(cluster, RAY_AUTH_TOKEN="guessed" * 8)
    assert finished.returncode != 0
    assert "token" in finished.stderr.lower()
