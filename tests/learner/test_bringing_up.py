"""How a rank is brought up: where it listens, and what it does on a GPU only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from learner import engine
from learner.rank import LearnerRank
from learner.settings import LearnerSettings
from tests.learner import two_ranks
from tests.learner.conftest import free_port


def listening_rank(rank: int, port: int, folder: Path) -> list[tuple[str, int]]:
    """What a rank that has met the other one listens on."""
    two_ranks.start(rank, port, folder, {"zero_stage": 1})
    connections = psutil.Process().net_connections(kind="inet")
    return [(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN]


def test_ranks_listen_on_the_address_they_are_given_alone(policy_folder: Path) -> None:
    """A store that opens its own socket, and gloo by default, listen on every interface or on the host's name."""
    port = free_port()
    first, second = two_ranks.run(listening_rank, port, policy_folder)
    assert ("127.0.0.1", port) in first
    assert {address for address, _ in first + second} == {"127.0.0.1"}


@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", None)])
def test_adamw_is_fused_on_a_gpu(monkeypatch: pytest.MonkeyPatch, device: str, fused: bool | None) -> None:
    monkeypatch.setattr(engine, "device_of_rank", lambda: torch.device(device))
    optimizer = engine._optimizer(nn.Linear(2, 2), LearnerSettings())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["fused"] is fused


def test_a_gpu_finishes_its_step_before_weights_are_sent(
    start_rank: Callable[..., LearnerRank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM packs them on streams that do not wait for it."""
    rank, done = start_rank(), []

    class Sender:
        def send(self, version: int) -> None:
            done.append(f"send {version}")

    rank._sender = Sender()  # type: ignore[assignment]
    rank.send_weights(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("synchronize"))
    rank.send_weights(2)
    assert done == ["send 1", "synchronize", "send 2"]
