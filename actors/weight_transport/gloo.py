"""Weight transfer over gloo, receiving side: runs in vLLM's worker processes.

vLLM ships transfer engines for GPUs only; this one implements its `WeightTransferEngine` interface for the CPU. The
sending side is `learner/weight_transport/gloo.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import torch
from torch.distributed import ProcessGroup
from vllm.distributed.utils import (
    stateless_destroy_torch_distributed_process_group,
    stateless_init_torch_distributed_process_group,
)
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from actors.weight_transport.completeness import check_complete, tied_layers
from data.interfaces import keep_gloo_towards
from data.transport import GLOO_BACKEND, Bucket, GlooHandshake, GlooUpdate, plan_buckets

SENDER = 0


class GlooInitInfo(GlooHandshake, WeightTransferInitInfo):
    """The handshake under the base class vLLM asks for."""


class GlooUpdateInfo(GlooUpdate, WeightTransferUpdateInfo):
    """The update under the base class vLLM asks for."""


class GlooWeightTransferEngine(WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]):
    """Receives buckets by broadcast and loads them layer by layer, as from a checkpoint.

    After an error the model holds a mixture of old and new weights and the group is unusable: the engine has to be
    started again.
    """

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo
    supports_draft_weight_update = False

    group: ProcessGroup | None = None
    bucket_bytes: int = 0
    _tied: dict[str, Any]

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join the learner's group, leaving an earlier one if there is any."""
        self.shutdown()
        parallel = self.parallel_config
        self.bucket_bytes = init_info.bucket_bytes
        keep_gloo_towards(init_info.master_address)
        group = stateless_init_torch_distributed_process_group(
            host=init_info.master_address,
            port=init_info.master_port,
            rank=init_info.rank_offset + parallel.data_parallel_index * parallel.world_size + parallel.rank,
            world_size=init_info.world_size,
            backend=GLOO_BACKEND,
            timeout=timedelta(seconds=init_info.timeout_s),
        )
        self.group = cast(ProcessGroup, group)

    def start_weight_update(self) -> None:
        """Prepare every layer to take checkpoint weights."""
        # Found now, because preparing a layer gives it parameters of its own.
        self._tied = tied_layers(self.model)
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive and load one update. Unlike the base class, waits for no accelerator: there is none."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Receive every bucket in order and load it.

        Raises:
            RuntimeError: not initialised, or a peer left or was silent for longer than the time-out.
            ValueError: the model has no such parameter, or one of another shape.
        """
        if self.group is None:
            raise RuntimeError("weight transfer was not initialised: init_weight_transfer_engine comes first")
        for bucket in plan_buckets(update_info.parameters(), self.bucket_bytes):
            # A fresh buffer each time: the loader keeps references until a layer is complete.
            buffer = torch.empty(bucket.nbytes, dtype=torch.uint8)
            self.group.broadcast(buffer, SENDER).wait()
            self._load(bucket, buffer)

    def finish_weight_update(self) -> None:
        """Put the loaded layers into service.

        Raises:
            ValueError: a layer did not get all of its parameters; it would go on with old or undefined ones.
        """
        check_complete(self.model, self._tied)
        finalize_layerwise_reload(self.model, self.model_config)
        for layer in self._tied.values():
            # On the CPU a layer computes with a packed copy of its weight. Nothing was loaded into a tied output layer,
            # so vLLM leaves it with the copy of the old one.
            layer.quant_method.process_weights_after_loading(layer)

    def shutdown(self) -> None:
        """Leave the group."""
        if self.group is not None:
            stateless_destroy_torch_distributed_process_group(self.group)
            self.group = None

    def _load(self, bucket: Bucket, buffer: torch.Tensor) -> None:
        loading = ""

        def stream() -> Iterator[tuple[str, torch.Tensor]]:
            nonlocal loading
            for parameter, tensor in bucket.views(buffer):
                loading = f"{parameter.name} of shape {list(parameter.shape)}"
                yield parameter.name, tensor

        try:
            cast(Any, self.model).load_weights(stream())
        except Exception as error:
            # vLLM's loaders raise anything from KeyError to AssertionError, mostly without the parameter's name.
            raise ValueError(f"the model refuses {loading}: {error!r}") from error
