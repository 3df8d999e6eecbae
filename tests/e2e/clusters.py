"""Clusters that `ray start` runs for a test alone: closed by a token of their own, of one node on 127.0.0.1 too."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

from tests.e2e.launching import ROOT

BIN = Path(sys.executable).parent
LOOPBACK = "127.0.0.1"


@dataclass
class Cluster:
    """A head and the nodes that joined it.

    Attributes:
        folder: Of the head's files.
        address: Where nodes and drivers join, host:port.
        dashboard, agent, metrics: Where its head serves HTTP.
        alone: Whether its head is to be its only node, on 127.0.0.1.
    """

    folder: Path
    address: str
    dashboard: str
    agent: str
    metrics: str
    alone: bool
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """That of somebody who knows the token; without any Ray the tests run in. `python` is this one."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        closed = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "COLUMNS": "200"}
        if self.alone:
            closed["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        return kept | closed | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def submit(self, *arguments: str) -> subprocess.Popen[str]:
        """Submit a run as the README has it."""
        command = [BIN / "ray", "job", "submit", "--address", self.dashboard, "--working-dir", ".", "--"]
        run = ["python", "-m", "cluster.launch", "--config", "configs/local.yaml", *arguments]
        return subprocess.Popen(
            [*command, *run],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, folder: Path, *arguments: str) -> None:
        """Start a node with files of its own."""
        with (folder / "start.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *(BIN / "ray", "start", "--block", "--num-cpus=2"),
                    *(f"--temp-dir={folder}", "--min-worker-port=0", "--max-worker-port=0", *arguments),
                ],
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)

    def scrape(self, url: str) -> str | None:
        """The text that it serves there to somebody with the token; None while it does not."""
        try:
            with urlopen(
                Request(url, headers={"Authorization": f"Bearer {self.token}"}), timeout=5
            ) as answer:
                return str(answer.read().decode())
        except OSError:
            return None


@contextmanager
def closed_cluster(nodes: int = 1) -> Iterator[Cluster]:
    """A cluster of this many nodes, each with two CPUs; its processes and files are gone afterwards.

    Raises:
        AssertionError: it does not come up; with the log of the node in question.
    """
    # Ray puts sockets there, whose paths must be short.
    folders = [Path(tempfile.mkdtemp(prefix="zoe-", dir="/tmp")) for _ in range(nodes)]
    port, dashboard, agent, metrics, client = free_ports(5)
    urls = (f"http://{LOOPBACK}:{port}" for port in (dashboard, agent, metrics))
    cluster = Cluster(folders[0], f"{LOOPBACK}:{port}", *urls, alone=nodes == 1)
    try:
        head = {"port": port, "dashboard-port": dashboard, "ray-client-server-port": client}
        cluster.start(
            folders[0],
            *("--head", "--disable-usage-stats", *(f"--{name}={value}" for name, value in head.items())),
            *own_ports(agent, metrics),
        )
        wait_until_it_takes_jobs(cluster)
        for folder in folders[1:]:
            cluster.start(folder, f"--address={cluster.address}", *own_ports(*free_ports(2)))
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            end(process)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def own_ports(agent: int, metrics: int) -> list[str]:
    """Ports of a node that would otherwise be those of every node on this machine."""
    rpc, environments = free_ports(2)
    ports = {
        "metrics-export-port": metrics,
        "dashboard-agent-listen-port": agent,
        "dashboard-agent-grpc-port": rpc,
        "runtime-env-agent-port": environments,
    }
    return [f"--{name}={port}" for name, port in ports.items()]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 on which nobody listens just now."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_it_takes_jobs(cluster: Cluster, timeout_s: float = 180) -> None:
    """Of its dashboard alone it would refuse them: "No available agent to submit job, please try again later"."""
    needed = {
        "the dashboard": f"{cluster.dashboard}/api/jobs/",
        "the job agent": f"{cluster.agent}/api/local_raylet_healthz",
    }
    deadline = time.monotonic() + timeout_s
    for name, url in needed.items():
        while cluster.scrape(url) is None:
            log = (cluster.folder / "start.log").read_text()
            assert cluster.processes[0].poll() is None, f"the cluster ended before {name} answered:\n{log}"
            assert time.monotonic() < deadline, f"{name} does not answer at {url}:\n{log}"
            time.sleep(0.5)


def end(process: subprocess.Popen[bytes]) -> None:
    """Only what was started here: `ray stop` would end every Ray on this machine."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=20)
    for one in alive:
        one.kill()
