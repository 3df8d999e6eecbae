"""Sockets and gloo groups are open to those who know the node's address, and to nobody else."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import cast

import psutil
import pytest
from torch.distributed import ProcessGroup
from vllm.distributed.utils import stateless_init_torch_distributed_process_group

from data.interfaces import GLOO_INTERFACE, free_port, interface_towards, keep_gloo_towards, listen_on


def listening() -> set[tuple[str, int]]:
    """Addresses and ports that this process listens on."""
    connections = psutil.Process().net_connections(kind="inet")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def test_a_socket_listens_on_one_address() -> None:
    with listen_on("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        assert ("127.0.0.1", port) in listening()
        with pytest.raises(OSError, match="in use"):
            listen_on("127.0.0.1", port)
    with pytest.raises(OSError):
        listen_on("192.0.2.1")


def test_the_interface_of_this_machine() -> None:
    assert interface_towards("127.0.0.1") == "lo"
    assert interface_towards("localhost") == "lo"


def test_gloo_stays_on_that_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    before = listening()
    monkeypatch.setenv(GLOO_INTERFACE, "")
    monkeypatch.delenv(GLOO_INTERFACE)
    keep_gloo_towards("127.0.0.1")
    assert os.environ[GLOO_INTERFACE] == "lo"
    listener = listen_on("127.0.0.1")
    group = stateless_init_torch_distributed_process_group(
        "127.0.0.1",
        listener.getsockname()[1],
        0,
        1,
        "gloo",
        listen_socket=listener,
        timeout=timedelta(seconds=10),
    )
    assert cast(ProcessGroup, group).size() == 1
    opened = listening() - before
    assert opened and {address for address, _ in opened} == {"127.0.0.1"}


def test_a_chosen_interface_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GLOO_INTERFACE, "eth7")
    keep_gloo_towards("127.0.0.1")
    assert os.environ[GLOO_INTERFACE] == "eth7"


def test_a_free_port_is_one_of_that_address() -> None:
    listen_on("127.0.0.1", free_port("127.0.0.1")).close()
