"""Variables that would end a run late are told by name before anything is rendered."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster import evaluate, grade, launch
from cluster.config import RunConfig
from cluster.runtime.environment import RAY_BYTES, VLLM_BYTES, address_of, environment_problems

ROOT = Path(__file__).resolve().parents[2]
LOCAL = str(ROOT / "configs" / "local.yaml")
FOLDERS = ("RAY_TMPDIR", "TMPDIR", "VLLM_RPC_BASE_PATH")
PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", *FOLDERS, *PROXIES):
        monkeypatch.delenv(name, raising=False)


def config(**sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate(sections)


def told(**sections: dict[str, Any]) -> list[str]:
    return [problem.message for problem in environment_problems(config(**sections))]


@contextmanager
def listening() -> Iterator[str]:
    """Something that answers nothing, as far as HTTP goes: a cluster, to whoever only knocks."""
    with socket.create_server(("", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_plain_environment_is_right() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:8265", "`ray job submit` sends jobs; a run joins a cluster at host:port"),
        ("127.0.0.1:1", "nobody answers at "),
        ("no-such-host.invalid:6379", "nobody answers at no-such-host.invalid:6379"),
        ("~/cluster", "address"),
        ("cluster", "address"),
        ("ray://127.0.0.1:10001", "Invalid address format"),
    ],
)
def test_an_address_that_is_no_cluster(monkeypatch: pytest.MonkeyPatch, address: str, says: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    (message,) = told()
    assert message.startswith(f'RAY_ADDRESS = "{address}" (environment): ')
    assert says in message
    assert message.endswith("or unset it, which starts Ray on this machine")
    (problem,) = environment_problems(config(ray={"address": "127.0.0.1:1"}))
    assert problem.keys == ("ray.address",)


def test_an_address_of_a_web_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard's port in place of the cluster's: Ray would wait for it, and then end the process."""
    with ThreadingHTTPServer(("", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.server_port}")
        assert "Ray's dashboard perhaps" in told()[0]
        server.shutdown()


def test_a_cluster_that_answers_is_joined_whatever_the_variables_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its workers have the variables of its nodes."""
    monkeypatch.setenv("TMPDIR", "~/x")
    with listening() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert told() == []
        assert told(ray={"address": "auto"}) == [], "Ray takes the variable in place of auto"


def test_what_a_dead_ray_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run without an address starts its own Ray; one that asks for Ray's choice is told."""
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", frozenset)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    assert "Could not find any running Ray" in told(ray={"address": "auto"})[0]
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    assert ":1 ([Errno 111] Connection refused)" in told(ray={"address": "auto"})[0]
    assert address_of(config()) is None


def test_local_is_a_ray_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address_of(config()) is address_of(config(ray={"address": "local"})) is None


@pytest.mark.parametrize("variable", FOLDERS)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("~/tmp", "nobody expands the ~"),
        ("tmp", "must be absolute"),
        ("", "must be absolute"),
        ("/no/such/folder", "No such file or directory"),
        ("/proc", "no file can be made in it"),
        ("/" + "ü" * 60, "121 bytes are too long"),
    ],
)
def test_a_folder_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    (message,) = told()
    assert message.startswith(f'{variable} = "{value}" (environment): ')
    assert says in message


def test_a_folder_must_leave_room_for_the_sockets_in_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/null"))  # noqa: SIM115
    assert (RAY_BYTES, VLLM_BYTES) == (39, 70)
    for variable, most in (
        ("TMPDIR", RAY_BYTES),
        ("RAY_TMPDIR", RAY_BYTES),
        ("VLLM_RPC_BASE_PATH", VLLM_BYTES),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "/".ljust(most, "x"))
            assert told() == []
            patch.setenv(variable, "/".ljust(most + 1, "x"))
            assert f"at most {most}," in told()[0]
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setenv("TMPDIR", "/".ljust(VLLM_BYTES, "x"))
    assert told() == [], "with a folder of its own for Ray only vLLM's sockets lie there"


def test_ray_takes_ascii_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/null"))  # noqa: SIM115
    monkeypatch.setenv("TMPDIR", "/tmp/größe")
    assert "Ray takes ASCII alone" in told()[0]
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    assert told() == []


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("value", ["http://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_dead_proxy_before_the_judge(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    judge = {"base_url": "http://judge.invalid:8000/v1", "model": "m"}
    assert told() == [], "no judge, no proxy"
    (message,) = told(judge=judge)
    assert message.startswith(f'{variable} = "{value}" (environment): the judge at judge.invalid:8000 ')
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert told(judge=judge | {"base_url": f"http://{host}:8000/v1"}) == [], "asked past the proxy"
    with listening() as proxy, monkeypatch.context() as patch:
        patch.setenv(variable, f"http://{proxy}")
        assert told(judge=judge) == []
    monkeypatch.setenv("NO_PROXY", "judge.invalid")
    assert told(judge=judge) == []


@pytest.mark.parametrize(
    "value", ["http://me:s3cret@127.0.0.1:1", "me:s3cret@127.0.0.1:1", "http://a@s3cret@127.0.0.1:1"]
)
def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    (message,) = told(judge={"base_url": "http://judge.invalid:8000/v1", "model": "m"})
    assert "s3cret" not in message and "…@127.0.0.1:1" in message


@pytest.mark.parametrize(
    ("command", "does"),
    [
        (launch, "cluster.training.run.run"),
        (evaluate, "cluster.evaluation.by_policy.evaluate_policy"),
        (grade, "cluster.grading.grading.grade_prompts"),
    ],
)
def test_every_command_that_starts_ray_looks_first(
    monkeypatch: pytest.MonkeyPatch, command: Any, does: str
) -> None:
    started: list[RunConfig] = []
    module, _, name = does.rpartition(".")
    stand_in = ModuleType(module)
    setattr(stand_in, name, lambda config, **_: started.append(config))
    monkeypatch.setitem(sys.modules, module, stand_in)
    invoke: Callable[[], Any] = lambda: CliRunner().invoke(command.app, ["--config", LOCAL, "ray.num_cpus=8"])  # noqa: E731
    assert invoke().exit_code == 0
    assert started
    monkeypatch.setenv("TMPDIR", "~/tmp")
    done = invoke()
    assert done.exit_code == 2
    assert '  - TMPDIR = "~/tmp" (environment): ' in done.stderr
    assert "Traceback" not in done.stderr
    assert len(started) == 1
