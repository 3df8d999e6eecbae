"""`ray job submit` on a cluster that was started before, with the real command line of Ray."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest

from tests.e2e.clusters import LOOPBACK, Cluster, closed_cluster
from tests.e2e.launching import SMALL, records

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with closed_cluster() as started:
        yield started


def zoetrope_metrics(cluster: Cluster) -> set[str]:
    """Names on the metrics endpoint that are ours."""
    lines = (cluster.scrape(f"{cluster.metrics}/metrics") or "").splitlines()
    return {line.split("{")[0] for line in lines if line.startswith("ray_zoetrope_")}


@pytest.mark.slow
def test_a_job_streams_its_log_and_shows_its_metrics(cluster: Cluster, tmp_path: Path) -> None:
    job = cluster.submit(
        *(argument for argument in SMALL if not argument.startswith(("ray.", "logging.ray"))),
        "run.name=job",
        f"run.output_dir={tmp_path}",
        "data.num_prompts=16",
        "cold_start.max_steps=4",
        "cold_start.think_steps=0",
        "cold_start.check_every=4",
        "cold_start.probe_prompts=4",
        "cold_start.batch_size=4",
        "grpo.steps=2",
    )
    names: set[str] = set()
    deadline = time.monotonic() + 600
    while job.poll() is None and time.monotonic() < deadline:
        names |= zoetrope_metrics(cluster)
        time.sleep(1)
    output, _ = job.communicate(timeout=60)
    assert job.returncode == 0, output
    assert "succeeded" in output
    for part in (
        "cold start step 4/4",
        "GRPO step 2/2",
        "Held-out results",
        str(tmp_path / "job" / "report.html"),
    ):
        assert part in output
    assert len(records(tmp_path / "job" / "metrics.jsonl")) == 2
    assert (tmp_path / "job" / "results.json").exists()
    assert names >= {
        "ray_zoetrope_step",
        "ray_zoetrope_loss",
        "ray_zoetrope_seconds",
        "ray_zoetrope_steps_total",
    }


def test_a_job_with_a_wrong_config_fails_with_the_reason(cluster: Cluster) -> None:
    job = cluster.submit("rollout.group_szie=4", "grpo.steps=0")
    output, _ = job.communicate(timeout=180)
    assert job.returncode != 0
    assert "did you mean rollout.group_size?" in output
    assert "grpo.steps" in output
    assert "FAILED" in output or "failed" in output
    assert "Traceback" not in output


def test_the_project_that_travels_with_a_job_is_small(cluster: Cluster) -> None:
    """Runs, environments and history stay at home, or every job would upload gigabytes."""
    folders = cluster.folder.glob("session_*/runtime_resources/working_dir_files/_ray_pkg_*/")
    packages = [path for path in folders if path.is_dir()]
    assert packages
    for package in packages:
        assert (package / "cluster" / "launch.py").is_file()
        assert not [name for name in ("runs", ".venv", ".git", "wandb") if (package / name).exists()]
        assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) < 10 * MEGABYTE


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}], ids=["none", "wrong"])
def test_nobody_submits_a_job_without_the_token(cluster: Cluster, headers: dict[str, str]) -> None:
    """A job is any command: the port of jobs is a shell."""
    job = Request(
        f"{cluster.dashboard}/api/jobs/",
        data=b'{"entrypoint": "touch /tmp/open"}',
        headers={"Content-Type": "application/json", **headers},
        method="POST",
    )
    with pytest.raises(HTTPError, match="40[13]"):
        urlopen(job, timeout=30)


def test_a_cluster_of_one_node_listens_on_loopback_alone(cluster: Cluster) -> None:
    (head,) = cluster.processes
    connections = [
        one
        for each in psutil.Process(head.pid).children(recursive=True)
        for one in each.net_connections("inet")
    ]
    addresses = {one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}
    assert {address.removeprefix("::ffff:") for address in addresses} == {LOOPBACK}
