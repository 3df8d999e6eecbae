"""Sending side of weight transfer: the learner's weights to all rollout workers, one broadcast per sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm.distributed.weight_transfer import (
    TrainerWeightTransferEngine,
    WeightSource,
    WeightTransferTrainerFactory,
)

from data.transport import GLOO_BACKEND
from learner.weight_transport import gloo, nccl
from learner.weight_transport.audit import AuditedSource, compare_checksums
from learner.weight_transport.background import unless_it_fails
from learner.weight_transport.client import FleetClient


@dataclass(frozen=True)
class TransferSettings:
    """How weights travel.

    Attributes:
        backend: `gloo` (CPU) or `nccl` (GPU).
        bucket_bytes: Size of the buffers sent at a time.
        timeout_s: Longest wait for any rollout worker, in seconds.
        ranks_per_worker: Tensor times pipeline parallel size of one rollout worker.
    """

    backend: str
    bucket_bytes: int
    timeout_s: float
    ranks_per_worker: int = 1


class WeightSender:
    """Connects one learner rank with the rollout workers. Constructed and used on every rank in lock-step.

    Args:
        workers: Rollout worker handles by name.
        source: The weights, in layer order; iterating it gathers parameters over the learner ranks.
        rank: This learner rank; rank 0 sends.
        master_address: Address of learner rank 0's host.

    Raises:
        ActorFailure: a rollout worker failed or did not answer in time.
    """

    def __init__(
        self,
        workers: Mapping[str, Any],
        source: WeightSource,
        rank: int,
        master_address: str,
        settings: TransferSettings,
    ) -> None:
        self._is_sender = rank == 0
        # Our gloo engine looks at the client while it broadcasts; vLLM's NCCL engine does not.
        self._notices_failures = settings.backend == GLOO_BACKEND
        self._client = FleetClient(workers, settings.ranks_per_worker, settings.timeout_s)
        self._source = AuditedSource(source)
        self._engine = self._connect(rank, master_address, settings)
        self._audited = False

    def send(self, version: int) -> None:
        """Broadcast the weights and put them into service as `version` on every rollout worker.

        The first time, both sides digest every parameter and the digests are compared.

        Raises:
            ActorFailure: a rollout worker failed or did not answer in time. The connection cannot be used any more.
            WeightMismatchError: what arrived is not what was sent.
        """
        audit = self._is_sender and not self._audited
        self._client.next_version = version
        self._client.audit = self._source.audit = audit
        if self._is_sender and not self._notices_failures:
            unless_it_fails(self._engine.send_weights, self._client.failure)
        else:
            self._engine.send_weights()
        if audit:
            compare_checksums(self._source.checksums, self._client.weight_checksums())
        self._audited = True

    def close(self) -> None:
        """Leave the transfer group."""
        self._engine.shutdown()

    def _connect(
        self, rank: int, master_address: str, settings: TransferSettings
    ) -> TrainerWeightTransferEngine[Any]:
        world_size = 1 + self._client.num_ranks
        if settings.backend == GLOO_BACKEND:
            gloo.register()
            return WeightTransferTrainerFactory.trainer_init(
                gloo.GlooTrainerInitInfo(
                    rank=rank,
                    master_address=master_address,
                    world_size=world_size,
                    bucket_bytes=settings.bucket_bytes,
                    timeout_s=settings.timeout_s,
                ),
                client=self._client,
                source=self._source,
            )
        info = nccl.nccl_init_info(rank, master_address, world_size, settings.bucket_bytes)
        return unless_it_fails(
            lambda: WeightTransferTrainerFactory.trainer_init(info, client=self._client, source=self._source),
            self._client.failure,
        )
