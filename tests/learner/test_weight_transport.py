"""The sending side against receivers in threads: what arrives, what is refused, and that nothing ever hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
import torch
from torch.distributed import ProcessGroup
from vllm.distributed.utils import stateless_init_torch_distributed_process_group
from vllm.distributed.weight_transfer import ModuleSource, ParamMeta, WeightTransferTrainerFactory

from data.failures import ActorFailure
from data.transport import GlooUpdate, checksum, plan_buckets
from learner.weight_transport import gloo
from learner.weight_transport.audit import AuditedSource, WeightMismatchError, compare_checksums
from learner.weight_transport.nccl import nccl_init_info

TIMEOUT_S = 20.0


class Receivers:
    """Stands where the client and the engines behind it stand; each receiver is a thread."""

    def __init__(self, count: int, fails: int | None = None, absent: int | None = None) -> None:
        self.count, self.fails, self.absent = count, fails, absent
        self.groups: dict[int, ProcessGroup] = {}
        self.received: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
        self.calls: list[str] = []

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.bucket_bytes = init_info["bucket_bytes"]
        if self.absent is not None:
            raise ActorFailure(f"rollout-{self.absent}", "joining", "killed")
        self._in_threads(lambda index: self._join(index, init_info))

    def start_weight_update(self) -> None:
        self.calls.append("start")

    def update_weights(self, update_info: dict[str, Any]) -> None:
        self.calls.append("update")
        if self.fails is not None:
            raise ActorFailure(f"rollout-{self.fails}", "receiving", "refused")
        self._in_threads(lambda index: self._receive(index, GlooUpdate(**update_info)))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.calls.append("finish")

    def _join(self, index: int, info: dict[str, Any]) -> None:
        group = stateless_init_torch_distributed_process_group(
            host=info["master_address"],
            port=info["master_port"],
            rank=info["rank_offset"] + index,
            world_size=info["world_size"],
            backend="gloo",
            timeout=timedelta(seconds=info["timeout_s"]),
        )
        assert isinstance(group, ProcessGroup)
        self.groups[index] = group

    def _receive(self, index: int, update: GlooUpdate) -> None:
        for bucket in plan_buckets(update.parameters(), self.bucket_bytes):
            buffer = torch.empty(bucket.nbytes, dtype=torch.uint8)
            self.groups[index].broadcast(buffer, 0).wait()
            self.received[index] |= {parameter.name: tensor for parameter, tensor in bucket.views(buffer)}

    def _in_threads(self, work: Any) -> None:
        threads = [Thread(target=work, args=(index,)) for index in range(self.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def policy() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Embedding(50, 8), torch.nn.Linear(8, 32).bfloat16(), torch.nn.Linear(32, 3)
    )


def connect(receivers: Receivers, source: ModuleSource, rank: int = 0) -> Any:
    gloo.register()
    info = gloo.GlooTrainerInitInfo(
        rank=rank,
        master_address="127.0.0.1",
        world_size=1 + receivers.count,
        bucket_bytes=300,
        timeout_s=TIMEOUT_S,
    )
    return WeightTransferTrainerFactory.trainer_init(info, client=receivers, source=source)


def test_every_receiver_gets_every_parameter(policy: torch.nn.Module) -> None:
    receivers = Receivers(2)
    engine = connect(receivers, ModuleSource(policy))
    for _ in range(2):
        with torch.no_grad():
            policy[1].bias.add_(1)
        engine.send_weights()
        for received in receivers.received:
            assert received.keys() == dict(policy.named_parameters()).keys()
            assert all(torch.equal(received[name], value) for name, value in policy.named_parameters())
    assert receivers.calls == ["start", "update", "finish"] * 2
    engine.shutdown()


class CountingSource(ModuleSource):
    """Counts what was taken from it."""

    taken = 0

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for pair in super().__iter__():
            self.taken += 1
            yield pair


def test_other_ranks_only_take_part_in_gathering(policy: torch.nn.Module) -> None:
    receivers = Receivers(1)
    source = CountingSource(policy)
    engine = connect(receivers, source, rank=1)
    engine.send_weights()
    assert source.taken == 5
    assert receivers.calls == []


def test_a_receiver_that_refuses_ends_the_send_at_once(policy: torch.nn.Module) -> None:
    receivers = Receivers(1)
    engine = connect(receivers, ModuleSource(policy))
    receivers.fails = 0
    start = time.monotonic()
    with pytest.raises(ActorFailure, match="rollout-0 failed while receiving"):
        engine.send_weights()
    assert time.monotonic() - start < TIMEOUT_S / 2
    assert receivers.calls == ["start", "update"]


def test_a_receiver_that_never_joins_ends_the_handshake_at_once(policy: torch.nn.Module) -> None:
    start = time.monotonic()
    with pytest.raises(ActorFailure, match="rollout-1 failed while joining"):
        connect(Receivers(2, absent=1), ModuleSource(policy))
    assert time.monotonic() - start < TIMEOUT_S / 2


class Overstating(ModuleSource):
    """Declares one parameter more than it gives."""

    def metadata(self) -> list[ParamMeta]:
        return [*super().metadata(), ParamMeta("ghost", torch.float32, (3,))]


# The receiver's thread ends with gloo's error when the sender leaves.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_that_contradicts_itself_is_an_error(policy: torch.nn.Module) -> None:
    engine = connect(Receivers(1), Overstating(policy))
    with pytest.raises(ValueError, match="expected ghost .*, the source gave nothing"):
        engine.send_weights()
    engine.shutdown()


def test_an_audit_digests_what_was_sent(policy: torch.nn.Module) -> None:
    source = AuditedSource(ModuleSource(policy))
    list(source)
    assert source.checksums == {}
    source.audit = True
    list(source)
    assert source.checksums == {name: checksum(value) for name, value in policy.named_parameters()}


@pytest.mark.parametrize("received", [{"a": "1"}, {"a": "1", "b": "x"}, {"a": "1", "b": "2", "c": "3"}])
def test_an_audit_names_worker_and_parameter(received: dict[str, str]) -> None:
    sent = {"a": "1", "b": "2"}
    compare_checksums(sent, {"rollout-0": dict(sent)})
    with pytest.raises(WeightMismatchError, match="rollout-1 did not receive what the learner sent: [bc]$"):
        compare_checksums(sent, {"rollout-0": dict(sent), "rollout-1": received})


def test_nccl_is_packed_and_only_the_sender_takes_a_port() -> None:
    sender, other = (nccl_init_info(rank, "127.0.0.1", 5, 2**28) for rank in (0, 1))
    assert (sender.backend, sender.packed, sender.packed_buffer_size_bytes, sender.world_size) == (
        "nccl",
        True,
        2**28,
        5,
    )
    assert sender.is_sender and sender.master_port > 0
    assert not other.is_sender and other.master_port == 0
