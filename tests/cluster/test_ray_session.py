"""Ray for a run: its workers' environment, a cluster too small, and that what it started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray._raylet import AuthenticationMode, get_authentication_mode

from cluster.config import RunConfig
from cluster.errors import RunFailure
from cluster.runtime.environment import address_of
from cluster.runtime.ray_session import (
    AUTHENTICATION,
    ClusterTooSmall,
    ray_session,
    worker_environment,
)

SMALL = {
    "ray": {"num_cpus": 3},
    "data": {"cache_gib": 0.05},
    "rollout": {"cpus_per_worker": 0.5},
    "learner": {"cpus_per_worker": 0.5},
    "logging": {"ray_metrics": False},
}


def config(**sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate({**SMALL, **sections})


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is part of no cluster, and to which nobody said how Ray authenticates."""
    ray.shutdown()
    for name in ("RAY_ADDRESS", *AUTHENTICATION):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("alone")
def test_a_session_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    def look_around() -> tuple[dict[str, str], str]:
        """What a worker process sees, and where a process of its own finds the project."""
        code = "import actors; print(actors.__file__)"
        found = subprocess.run(
            [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
        )
        return dict(os.environ), found.stdout.strip()

    before = signal.getsignal(signal.SIGTERM)
    with ray_session(config()):
        assert ray.cluster_resources()["CPU"] == 3
        assert signal.getsignal(signal.SIGTERM) is before
        environment, place = ray.get(ray.remote(look_around).options(num_cpus=2).remote())
        assert environment["OMP_NUM_THREADS"] == "1"
        assert environment["DS_ACCELERATOR"] == "cpu"
        assert Path(place).parent.parent == Path(__file__).parents[2]
        four = config(rollout={"num_workers": 4, "cpus_per_worker": 1.0})
        with (
            pytest.raises(ClusterTooSmall, match="asks for 4.7 CPUs .*; this machine has 3"),
            ray_session(four),
        ):
            pytest.fail("the run was started")
        large = config(data={"cache_gib": 1e4})
        with pytest.raises(ClusterTooSmall, match="object store holds"), ray_session(large):
            pytest.fail("the run was started")
        assert ray.is_initialized()
    assert not ray.is_initialized()
    # A token left in either place makes the next `ray start` refuse `ray job submit`.
    assert not (tmp_path / ".ray").exists()
    assert not any(name in os.environ for name in AUTHENTICATION)


@pytest.mark.usefixtures("alone")
def test_a_second_session_in_one_process_beside_the_trace_of_a_dead_cluster(
    request: pytest.FixtureRequest,
) -> None:
    """Ray itself would join what `ray start` wrote there."""
    file = Path(os.environ["RAY_TMPDIR"]) / "ray" / "ray_current_cluster"
    file.parent.mkdir(exist_ok=True)
    file.write_text("127.0.0.1:1")
    request.addfinalizer(file.unlink)
    for _ in range(2):
        with ray_session(config()):
            assert ray.get(ray.remote(lambda: 7).remote()) == 7


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "http://127.0.0.1:8265"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    elsewhere = config(ray={"address": address})
    with pytest.raises(RunFailure, match=f"Could not join Ray at {address}: "), ray_session(elsewhere):
        pytest.fail("the run was started")


def beyond_loopback() -> set[str]:
    """What this process and all it started listen on, but for 127.0.0.1."""
    this = psutil.Process()
    connections = [
        one for each in (this, *this.children(recursive=True)) for one in each.net_connections("inet")
    ]
    addresses = {
        one.laddr.ip.removeprefix("::ffff:") for one in connections if one.status == psutil.CONN_LISTEN
    }
    assert addresses
    return addresses - {"127.0.0.1"}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("metrics", [False, True])
def test_a_session_on_this_machine_is_closed_to_others(metrics: bool) -> None:
    """Whoever reaches Ray runs what he likes."""
    with ray_session(config(logging={"ray_metrics": metrics})):
        assert ray.get(ray.remote(ray.util.get_node_ip_address).remote()) == "127.0.0.1"
        assert get_authentication_mode() is AuthenticationMode.TOKEN
        assert beyond_loopback() == set()


def test_the_ray_of_the_tests_is_closed_too(ray_cluster: None) -> None:
    assert get_authentication_mode() is AuthenticationMode.TOKEN
    assert beyond_loopback() == set()
    assert os.environ["RAY_AUTH_TOKEN"], "in no file, where every later `ray start` would find it"


def test_the_configured_address_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "there:1")
    assert address_of(config()) == "there:1"
    assert address_of(config(ray={"address": "here:2"})) == "here:2"
    monkeypatch.delenv("RAY_ADDRESS")
    assert address_of(config()) is None


def test_a_submitted_job_brings_the_project_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert worker_environment(config())["PYTHONPATH"].endswith(":/elsewhere")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "PYTHONPATH" not in worker_environment(config())


def test_a_learner_on_gpus_is_left_to_find_them() -> None:
    assert "DS_ACCELERATOR" not in worker_environment(config(learner={"gpus_per_worker": 1.0}))
