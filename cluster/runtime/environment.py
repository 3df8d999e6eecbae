"""What this machine's environment does to a run: where Ray is looked for, and variables that would break it later.

A run renders clips and loads models before Ray, the engine or the judge meet a variable that is wrong, and most of
what they say then names no variable. So all are looked at first.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from actors.judge_endpoint import is_loopback
from cluster.config import RunConfig
from cluster.config.problems import Problem

RAY_ADDRESS = "RAY_ADDRESS"
AUTO = "auto"
KNOCK_SECONDS = 10.0
# What a server of HTTP/1 answers to this at once; Ray's own port speaks HTTP/2 and begins with a frame of settings.
HTTP_QUESTION, HTTP_ANSWER = b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1"
HTTP_SECONDS = 2.0

# A Unix socket's path takes 107 bytes. Ray's longest has `/ray/session_<date>_<time>_<process>/sockets/plasma_store`
# behind the folder, vLLM's a slash and a UUID.
SOCKET_BYTES = 107
RAY_BYTES = SOCKET_BYTES - len("/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
VLLM_BYTES = SOCKET_BYTES - len("/00000000-0000-0000-0000-000000000000")


def address_of(config: RunConfig) -> str | None:
    """The cluster to join; None starts one here. `ray job submit` sets RAY_ADDRESS."""
    given = _given_by_environment(config) or config.ray.address
    return None if given == "local" else given


def environment_problems(config: RunConfig) -> Iterator[Problem]:
    """Every variable that would end the run after its clips are rendered, and a cluster that does not answer."""
    address = address_of(config)
    if address is not None:
        # Workers of a cluster have the variables of its nodes, not those of this process.
        yield from _cluster(config, address)
        return
    yield from _folder("RAY_TMPDIR", RAY_BYTES, of_ray=True)
    ray_takes_it = "RAY_TMPDIR" not in os.environ
    yield from _folder("TMPDIR", RAY_BYTES if ray_takes_it else VLLM_BYTES, ray_takes_it)
    yield from _folder("VLLM_RPC_BASE_PATH", VLLM_BYTES, of_ray=False)
    yield from _proxy(config)


def knock(address: str) -> None:
    """Make sure that a cluster listens at an address: Ray itself would try for many minutes, or hang.

    Raises:
        OSError: nobody answers; for `auto`, there is no Ray to find.
        ValueError: the address is not one of a cluster, or something else listens there.
    """
    from ray._private.services import canonicalize_bootstrap_address

    # For `auto`, what the file of the last `ray start` says, or a Ray found among the processes; it raises for none.
    found = canonicalize_bootstrap_address(address) or ""
    host, _, port = found.rpartition(":")
    if "/" in found or not host or not port.isdigit():
        raise ValueError(f"a cluster's address is host:port or {AUTO}")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS)
    except OSError as error:
        raise ConnectionError(f"nobody answers at {found} ({error})") from error
    with connection:
        connection.settimeout(HTTP_SECONDS)
        connection.sendall(HTTP_QUESTION)
        try:
            answer = connection.recv(len(HTTP_ANSWER))
        except TimeoutError:
            return
    if answer == HTTP_ANSWER:
        raise ValueError(
            f"a web server listens at {found}, Ray's dashboard perhaps; a cluster's port is another"
        )


def _given_by_environment(config: RunConfig) -> str | None:
    """RAY_ADDRESS where it is what counts: Ray takes it in place of `auto` too."""
    return os.environ.get(RAY_ADDRESS) or None if config.ray.address in (None, AUTO) else None


def _cluster(config: RunConfig, address: str) -> Iterator[Problem]:
    try:
        if address.startswith(("http://", "https://")):
            raise ValueError("this is where `ray job submit` sends jobs; a run joins a cluster at host:port")
        knock(address)
    except (OSError, ValueError) as error:
        message = f"Ray cannot be joined there: {error}. Start it, give the address of one that runs, or "
        if _given_by_environment(config):
            yield _of_variable(RAY_ADDRESS, message + "unset it, which starts Ray on this machine")
        else:
            yield Problem(("ray.address",), message + "null, which starts Ray on this machine")


def _folder(variable: str, most_bytes: int, of_ray: bool) -> Iterator[Problem]:
    """What is wrong with a folder for temporary files, the first of it.

    Args:
        most_bytes: Longest path that leaves room for the sockets in it, bytes.
    """
    path = os.environ.get(variable)
    if path is None or not (problem := _folder_problem(path, most_bytes, of_ray)):
        return
    yield _of_variable(variable, f"{problem}. Set it to a short absolute folder that is there, or unset it")


def _folder_problem(path: str, most_bytes: int, of_ray: bool) -> str | None:
    if path.startswith("~"):
        return "nobody expands the ~ of a variable"
    if not Path(path).is_absolute():
        return "the processes of a run work in different folders, so it must be absolute"
    if len(os.fsencode(path)) > most_bytes:
        return (
            f"{len(os.fsencode(path))} bytes are too long for the sockets in it: at most {most_bytes}, as a socket's "
            f"path takes {SOCKET_BYTES}"
        )
    if of_ray and not path.isascii():
        return "Ray takes ASCII alone"
    try:
        with tempfile.TemporaryFile(dir=path):
            return None
    except OSError as error:
        return f"no file can be made in it: {error.strerror}"


def _proxy(config: RunConfig) -> Iterator[Problem]:
    """A proxy before the judge that does not answer; none is asked on the way to this machine itself."""
    judge = urlsplit(config.judge.base_url or "")
    if not judge.hostname or is_loopback(judge.hostname) or proxy_bypass(judge.hostname):
        return
    proxies = getproxies()
    kind = next((kind for kind in (judge.scheme, "all") if kind in proxies), None)
    if kind is None:
        return
    proxy = urlsplit(proxies[kind] if "://" in proxies[kind] else f"http://{proxies[kind]}")
    try:
        where = proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80)
        socket.create_connection(where, timeout=KNOCK_SECONDS).close()
    except (OSError, ValueError) as error:
        name = f"{kind}_proxy"
        variable = next(each for each in (name, name.upper()) if os.environ.get(each))
        yield _of_variable(
            variable,
            f"the judge at {judge.netloc} is asked through this proxy, which does not answer: {error}. Unset it, or "
            f"add {judge.hostname} to NO_PROXY",
        )


def _of_variable(name: str, message: str) -> Problem:
    # A proxy's address may hold a password.
    value = json.dumps(re.sub(r"(//|^)[^/]*@", r"\1…@", os.environ[name]), ensure_ascii=False)
    return Problem((), f"{name} = {value} (environment): {message}")
