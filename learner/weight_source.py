"""The learner's weights as vLLM's transfer engines read them: whole and with their adapters merged, in layer order."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deepspeed.runtime.zero.partition_parameters import GatheredParameters
from torch import Tensor, nn
from vllm.distributed.weight_transfer import ParamMeta, WeightSource

from data.transport import checksum
from learner.lora import Weight, named_weights

GATHER_BYTES = 512 * 1024**2


class DeepSpeedSource(WeightSource):
    """`WeightSource` over a policy trained by DeepSpeed at any ZeRO stage.

    Under ZeRO-3 parameters are gathered in groups of bounded size and freed again, so iteration is
    collective: all learner ranks iterate together, to the end. A tied `lm_head` is not a parameter of its
    own and is not sent. LoRA adapters are merged into the weights they belong to.

    Args:
        policy: The Hugging Face model inside the engine; its parameter names are what vLLM's loader expects.
        gather_bytes: Largest group gathered at a time; a larger parameter is gathered alone.
    """

    def __init__(self, policy: nn.Module, gather_bytes: int = GATHER_BYTES) -> None:
        self._policy = policy
        self._gather_bytes = gather_bytes

    def metadata(self) -> list[ParamMeta]:
        """Name, dtype and full shape of every weight, without any communication."""
        return [
            ParamMeta(w.name, w.parameter.dtype, full_shape(w.parameter)) for w in named_weights(self._policy)
        ]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for group in gather_groups(self._policy, self._gather_bytes):
            with GatheredParameters([parameter for weight in group for parameter in weight.parameters]):
                for weight in group:
                    yield weight.name, weight.merge()


def full_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    """Shape of the whole parameter; under ZeRO-3 the tensor itself may be empty."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def gather_groups(policy: nn.Module, gather_bytes: int) -> list[list[Weight]]:
    """Weights in order, in groups of at most `gather_bytes`."""
    groups: list[list[Weight]] = []
    filled = 0
    for weight in named_weights(policy):
        size = sum(math.prod(full_shape(part)) * part.element_size() for part in weight.parameters)
        if not groups or filled + size > gather_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(weight)
        filled += size
    return groups


def checksums(source: WeightSource) -> dict[str, str]:
    """SHA-256 of the bytes of every parameter by its Hugging Face name; collective like iteration.

    vLLM's `compute_weight_checksums` digests its own layout (fused and, on the CPU, repacked matrices) and
    cannot be compared with these. A transfer is proven in two halves: these digests equal those of what the
    engine received, and the engine's own do not change when it is sent the weights it was loaded from.
    """
    return {name: checksum(tensor) for name, tensor in source}
