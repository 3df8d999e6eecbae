"""Joins a Ray cluster, or starts one on this machine, and makes sure that it has what the run asks for."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

from cluster.config import RunConfig
from cluster.config.problems import Problem
from cluster.errors import ConfigError, RunFailure
from cluster.planning.placement import placement, shortages
from cluster.runtime.environment import address_of, knock

PROJECT = Path(__file__).resolve().parents[2]
# Set by `ray job submit`, whose own runtime environment already carries the project.
SUBMITTED_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class ClusterTooSmall(ConfigError):
    """The run asks for more than the cluster has.

    Attributes:
        problems: What is short, with the keys that ask for it.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.message for problem in problems))
        self.problems = list(problems)


@contextmanager
def ray_session(config: RunConfig) -> Iterator[None]:
    """Ray for the duration of a run. A Ray that this process is already part of is used and left as it is.

    Raises:
        ClusterTooSmall: before any actor is started.
        RunFailure: the cluster cannot be reached.
    """
    if ray.is_initialized():
        check_capacity(config)
        yield
        return
    with ExitStack() as stack:
        if address_of(config) is None:
            stack.enter_context(_own_token())
            stack.enter_context(_loopback())
        # Stops the processes that `init` started here; a cluster that was joined only loses its driver.
        stack.callback(ray.shutdown)
        _connect(config)
        check_capacity(config)
        yield


def check_capacity(config: RunConfig) -> None:
    """Compare the placement with the cluster.

    Raises:
        ClusterTooSmall: something is short.
    """
    nodes = [node["Resources"] for node in _nodes() if node["Alive"]]
    where = "this machine" if address_of(config) is None else "the cluster"
    problems = list(shortages(placement(config), nodes, where))
    store = sum(node.get("object_store_memory", 0) for node in nodes) / 2**30
    if config.data.cache_gib > store:
        problems.append(
            Problem(
                ("data.cache_gib",),
                f"Ray's object store holds {store:.2f} GiB, which the clips must fit into",
            )
        )
    if problems:
        raise ClusterTooSmall(problems)


def worker_environment(config: RunConfig) -> dict[str, str]:
    """Variables of every worker process; an actor may set its own over them.

    Ray would set OMP_NUM_THREADS by the CPUs reserved. Workers that take turns on the same cores may use more
    than they reserve, and say so themselves.
    """
    variables = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if config.learner.gpus_per_worker == 0:
        variables["DS_ACCELERATOR"] = "cpu"
    if SUBMITTED_JOB not in os.environ:
        paths = [str(PROJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        variables["PYTHONPATH"] = os.pathsep.join(paths)
    return variables


def _nodes() -> list[dict[str, Any]]:
    return ray.nodes()  # type: ignore[no-untyped-call, no-any-return]


def _connect(config: RunConfig) -> None:
    address = address_of(config)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if address is None:
        # The dashboard's agent is what serves the metrics endpoint.
        options = {"address": "local", "include_dashboard": config.logging.ray_metrics}
        options["num_cpus"] = config.ray.num_cpus
    with _sigterm_kept():
        try:
            if address is not None:
                # It may have ended since the run was checked.
                knock(address)
            ray.init(
                **options,
                runtime_env={"env_vars": _free_of(worker_environment(config))},
                # Worker output would run through the progress display.
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # noqa: BLE001 - a Ray that does not come up in time raises just that
            where = f"join Ray at {address}" if address else "start Ray on this machine"
            raise RunFailure(f"Could not {where}: {error}") from error


@contextmanager
def _own_token() -> Iterator[None]:
    """Give a Ray that is started here a token of its own, unless the user has settled how Ray authenticates.

    Left alone, Ray 2.60 writes one to `~/.ray/auth_token` and RAY_AUTH_MODE into this process's environment.
    Every later `ray start` would then ask for a token, which `ray job submit` does not send unless told to.
    """
    before = {name: os.environ.get(name) for name in AUTHENTICATION}
    if not any(before.values()) and not (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    read_authentication_again()
    try:
        yield
    finally:
        for name in (name for name, value in before.items() if value is None):
            os.environ.pop(name, None)
        read_authentication_again()


@contextmanager
def _loopback() -> Iterator[None]:
    """Let a Ray that is started here listen on 127.0.0.1 alone: nobody else is to join it.

    `ray.init` takes no such address; it puts the machine's own in its place. What Ray calls a platform without
    clusters, macOS or Windows by default, is one where nodes are on loopback.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def read_authentication_again() -> None:
    """Make Ray forget the mode and the token that it read earlier in this process, in the order its own tests use."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _free_of(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables that a submitted job does not set itself: Ray refuses the same one twice."""
    submitted = json.loads(os.environ.get(SUBMITTED_JOB, "{}")).get("runtime_env") or {}
    return {name: value for name, value in variables.items() if name not in submitted.get("env_vars", {})}


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Ray's `init` takes SIGTERM for itself; the launcher's answer to it says how to resume."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
