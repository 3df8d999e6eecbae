"""`ray job submit` on a cluster that was started before, with the real command line of Ray."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from tests.e2e.launching import ROOT, SMALL, records

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BIN = Path(sys.executable).parent
MEGABYTE = 2**20


@dataclass
class Cluster:
    """A Ray that `ray start --head` runs for these tests alone."""

    process: subprocess.Popen[bytes]
    folder: Path
    dashboard: str
    agent: str
    metrics: str

    def submit(self, *arguments: str) -> subprocess.Popen[str]:
        """Submit a run as the README has it."""
        return subprocess.Popen(
            [
                *(BIN / "ray", "job", "submit", "--address", self.dashboard, "--working-dir", ".", "--"),
                *("python", "-m", "cluster.launch", "--config", "configs/local.yaml", *arguments),
            ],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def environment() -> dict[str, str]:
    """Without any Ray that the tests may be running in; `python` is this one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    # A token in the home folder would make Ray ask for it.
    plain = {"RAY_AUTH_MODE": "disabled", "COLUMNS": "200"}
    return kept | plain | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Ray puts sockets there, whose paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="zoe-", dir="/tmp"))
    gcs, dashboard, metrics, agent, agent_rpc, environments, client = free_ports(7)
    ports = {
        "port": gcs,
        "dashboard-port": dashboard,
        "metrics-export-port": metrics,
        "dashboard-agent-listen-port": agent,
        "dashboard-agent-grpc-port": agent_rpc,
        "runtime-env-agent-port": environments,
        "ray-client-server-port": client,
        "min-worker-port": 0,
        "max-worker-port": 0,
    }
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(BIN / "ray", "start", "--head", "--block", "--num-cpus=2", "--disable-usage-stats"),
                *(f"--{name}={port}" for name, port in ports.items()),
                *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}"),
            ],
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    urls = (f"http://127.0.0.1:{port}" for port in (dashboard, agent, metrics))
    cluster = Cluster(process, folder, *urls)
    try:
        wait_until_it_takes_jobs(cluster)
        yield cluster
    finally:
        end(process)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_takes_jobs(cluster: Cluster, timeout_s: float = 180) -> None:
    """Of its dashboard alone it would refuse them: "No available agent to submit job, please try again later"."""
    needed = {
        "the dashboard": f"{cluster.dashboard}/api/jobs/",
        "the job agent": f"{cluster.agent}/api/local_raylet_healthz",
    }
    deadline = time.monotonic() + timeout_s
    for name, url in needed.items():
        while scrape(url) is None:
            log = (cluster.folder / "start.log").read_text()
            assert cluster.process.poll() is None, f"the cluster ended before {name} answered:\n{log}"
            assert time.monotonic() < deadline, f"{name} does not answer at {url}:\n{log}"
            time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    """Only what this fixture started: `ray stop` would end every Ray on this machine."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=20)
    for one in alive:
        one.kill()


def scrape(url: str) -> str | None:
    try:
        with urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def zoetrope_metrics(cluster: Cluster) -> set[str]:
    """Names on the metrics endpoint that are ours."""
    lines = (scrape(f"{cluster.metrics}/metrics") or "").splitlines()
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
