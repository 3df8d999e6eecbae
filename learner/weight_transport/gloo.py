"""Weight transfer over gloo, sending side: runs in the learner ranks, of which rank 0 sends.

Implements vLLM's `TrainerWeightTransferEngine`, so that it is used exactly like the built-in `nccl`. The receiving side
is `actors/weight_transport/gloo.py`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, ClassVar, Self, cast

from torch.distributed import ProcessGroup
from vllm.distributed.utils import (
    stateless_destroy_torch_distributed_process_group,
    stateless_init_torch_distributed_process_group,
)
from vllm.distributed.weight_transfer import (
    ParamMeta,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.base import TrainerInitInfo

from data.interfaces import keep_gloo_towards, listen_on
from data.transport import GLOO_BACKEND, GlooHandshake, GlooUpdate, fill_buckets, plan_buckets
from learner.weight_transport.background import in_background

SENDER = 0
POLL_SECONDS = 0.0005


@dataclass
class GlooTrainerInitInfo(TrainerInitInfo):
    """How learner ranks set the transfer up; `rank` is the learner's rank.

    Attributes:
        master_address: Address of this host that the rollout workers can reach.
        world_size: Learner rank 0 plus the worker processes of all engines.
        bucket_bytes: Largest buffer, unless a single parameter is larger.
        timeout_s: Longest wait for a peer, in seconds.
    """

    backend: ClassVar[str] = GLOO_BACKEND

    master_address: str
    world_size: int
    bucket_bytes: int
    timeout_s: float


class GlooTrainerWeightTransferEngine(TrainerWeightTransferEngine[GlooTrainerInitInfo]):
    """Broadcasts packed buckets from learner rank 0; the other ranks only take part in gathering parameters.

    After an error the group is unusable: shut this engine down and set up a new one.
    """

    init_info_cls = GlooTrainerInitInfo

    def __init__(
        self, *, client: VLLMWeightSyncClient, source: WeightSource, is_sender: bool, bucket_bytes: int
    ) -> None:
        super().__init__(client=client, source=source, is_sender=is_sender)
        self._weights = source
        self._bucket_bytes = bucket_bytes
        self._group: ProcessGroup | None = None

    @classmethod
    def trainer_init(
        cls,
        init_info: GlooTrainerInitInfo,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Set up the group with all engines; returns at once on the ranks that do not send.

        Raises:
            ActorFailure: a rollout worker died, raised or did not answer; from the client.
        """
        if source is None:
            raise ValueError("gloo weight transfer needs a WeightSource")
        engine = cls(
            client=client, source=source, is_sender=init_info.is_sender, bucket_bytes=init_info.bucket_bytes
        )
        if engine.is_sender:
            engine._group = _open_group(init_info, client)
        return engine

    def send_weights(self) -> None:
        """One whole update: pause, broadcast, put into service. Called on every learner rank.

        Raises:
            ActorFailure: a rollout worker failed; from the client.
            ValueError: the source does not yield what its metadata declares.
        """
        declared = self._weights.metadata()
        if not self.is_sender:
            for _ in self._weights:
                pass
            return
        self.client.start_weight_update()
        received = in_background(lambda: self.client.update_weights(_describe(declared)))
        self._broadcast(declared, received)
        received.result()
        self.client.finish_weight_update()

    def shutdown(self) -> None:
        """Leave the group."""
        if self._group is not None:
            stateless_destroy_torch_distributed_process_group(self._group)
            self._group = None

    def _broadcast(self, declared: Sequence[ParamMeta], received: Future[None]) -> None:
        assert self._group is not None, "trainer_init comes before send_weights"
        parameters = _update(declared).parameters()
        for _, buffer in fill_buckets(plan_buckets(parameters, self._bucket_bytes), self._weights):
            work = self._group.broadcast(buffer, SENDER)
            # A receiver that failed does not take part in the broadcast, which would wait for it until the time-out.
            while not work.is_completed():
                _raise_if_failed(received)
                time.sleep(POLL_SECONDS)
            _wait(work, received)


def register() -> None:
    """Make this engine known to vLLM's trainer factory. May be called any number of times."""
    if GLOO_BACKEND not in WeightTransferTrainerFactory._registry:
        WeightTransferTrainerFactory.register_engine(GLOO_BACKEND, GlooTrainerWeightTransferEngine)


def _open_group(init_info: GlooTrainerInitInfo, client: VLLMWeightSyncClient) -> ProcessGroup:
    """Join the group as rank 0 while the client lets the engines join."""
    keep_gloo_towards(init_info.master_address)
    listener = listen_on(init_info.master_address)
    port = listener.getsockname()[1]
    joined = in_background(
        lambda: stateless_init_torch_distributed_process_group(
            host=init_info.master_address,
            port=port,
            rank=SENDER,
            world_size=init_info.world_size,
            backend=GLOO_BACKEND,
            listen_socket=listener,
            timeout=timedelta(seconds=init_info.timeout_s),
        )
    )
    handshake = GlooHandshake(
        master_address=init_info.master_address,
        master_port=port,
        rank_offset=SENDER + 1,
        world_size=init_info.world_size,
        bucket_bytes=init_info.bucket_bytes,
        timeout_s=init_info.timeout_s,
    )
    client.init_weight_transfer_engine(asdict(handshake))
    return cast(ProcessGroup, joined.result())


def _update(declared: Sequence[ParamMeta]) -> GlooUpdate:
    return GlooUpdate(
        names=[meta.name for meta in declared],
        dtype_names=[str(meta.dtype).removeprefix("torch.") for meta in declared],
        shapes=[list(meta.shape) for meta in declared],
    )


def _describe(declared: Sequence[ParamMeta]) -> dict[str, Any]:
    return asdict(_update(declared))


def _raise_if_failed(received: Future[None]) -> None:
    if received.done() and (error := received.exception()) is not None:
        raise error


def _wait(work: Any, received: Future[None]) -> None:
    """Finish a broadcast; where it failed because a receiver did, report the receiver."""
    try:
        work.wait()
    except RuntimeError as error:
        raise received.exception() or error from error
