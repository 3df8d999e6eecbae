"""The client gives every engine its own ranks, one call per sync, and turns silence and death into a named error."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import ray
import torch
from vllm.distributed.weight_transfer import ModuleSource

from data.failures import ActorFailure
from learner import weight_transport
from learner.weight_transport import TransferSettings, WeightSender
from learner.weight_transport.client import FleetClient


@ray.remote(num_cpus=0, max_concurrency=10)
class Worker:
    """Notes what it is asked to do; misbehaves when told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.behaviour = "good"

    async def behave(self, behaviour: str) -> None:
        self.behaviour = behaviour

    async def seen(self) -> list[tuple[Any, ...]]:
        return self.calls

    async def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        self.calls.append(("init", info["rank_offset"], info["world_size"]))

    async def start_weight_update(self, audit: bool) -> None:
        self.calls.append(("start", audit))

    async def update_weights(self, info: dict[str, Any]) -> None:
        self.calls.append(("update", info))
        if self.behaviour == "silent":
            await asyncio.sleep(60)
        if self.behaviour == "dying":
            os._exit(1)
        if self.behaviour == "refusing":
            raise ValueError("the model refuses lm_head.weight")

    async def finish_weight_update(self, version: int) -> None:
        self.calls.append(("finish", version))

    async def weight_checksums(self) -> dict[str, str]:
        return {"a": self.behaviour}


@pytest.fixture
def workers(ray_cluster: None) -> dict[str, Any]:
    workers = {f"rollout-{index}": Worker.remote() for index in range(2)}  # type: ignore[attr-defined]
    ray.get([worker.seen.remote() for worker in workers.values()])
    return workers


def test_a_sync_reaches_every_worker_once(workers: dict[str, Any]) -> None:
    client = FleetClient(workers, ranks_per_worker=4, deadline_s=30)
    assert client.num_ranks == 8
    client.init_weight_transfer_engine({"rank_offset": 1, "world_size": 9})
    client.next_version, client.audit = 7, True
    client.start_weight_update()
    client.update_weights({"names": ["a"]})
    client.finish_weight_update()
    client.finish_weight_update("8")
    seen = ray.get([worker.seen.remote() for worker in workers.values()])
    for rank_offset, calls in zip((1, 5), seen, strict=True):
        assert calls == [
            ("init", rank_offset, 9),
            ("start", True),
            ("update", {"names": ["a"]}),
            ("finish", 7),
            ("finish", 8),
        ]
    assert client.weight_checksums() == {"rollout-0": {"a": "good"}, "rollout-1": {"a": "good"}}


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("silent", "no answer within 2 s"),
        ("dying", "died unexpectedly"),
        ("refusing", "the model refuses lm_head.weight"),
    ],
)
def test_a_worker_that_fails_is_named_with_advice(
    workers: dict[str, Any], behaviour: str, words: str
) -> None:
    ray.get(workers["rollout-1"].behave.remote(behaviour))
    client = FleetClient(workers, ranks_per_worker=1, deadline_s=2 if behaviour == "silent" else 50)
    client.next_version = 5
    start = time.monotonic()
    with pytest.raises(
        ActorFailure, match="(?s)rollout-1 failed while receiving weight version 5.*restart it"
    ) as failure:
        client.update_weights({})
    assert words in failure.value.last_words
    assert time.monotonic() - start < 50


class DeafEngine:
    """Sends as vLLM's NCCL engine does: the client in another thread, while this one waits for receivers for ever."""

    def __init__(self, client: FleetClient) -> None:
        self._client = client

    def send_weights(self) -> None:
        ThreadPoolExecutor(1).submit(self._client.update_weights, {})
        threading.Event().wait()


@pytest.mark.timeout(60)
def test_a_worker_that_fails_inside_a_transfer_is_reported_by_its_own_error(
    workers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NCCL itself would wait on, until whoever waits for the learner blames the learner."""
    monkeypatch.setattr(
        weight_transport.WeightTransferTrainerFactory,
        "trainer_init",
        lambda info, client, source: DeafEngine(client),
    )
    ray.get(workers["rollout-0"].behave.remote("refusing"))
    source = ModuleSource(torch.nn.Linear(1, 1))
    sender = WeightSender(workers, source, 0, "127.0.0.1", TransferSettings("nccl", 1, timeout_s=30))
    with pytest.raises(
        ActorFailure, match="(?s)rollout-0 failed while receiving.*the model refuses lm_head.weight"
    ):
        sender.send(5)
