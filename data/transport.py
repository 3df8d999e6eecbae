"""What the two ends of a weight transfer agree on: the handshake and how parameters are laid out in buckets.

The learner packs parameters into byte buffers of a bounded size, in layer order, and broadcasts one buffer at a time; a
rollout engine receives buffers of the same sizes and reads the parameters back. Both compute the layout from the same
list of names, dtypes and shapes, so only bytes travel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

GLOO_BACKEND = "gloo"
# Wide enough for every dtype, so that a slice of the buffer can be viewed as any of them.
ALIGNMENT_BYTES = 16


@dataclass
class GlooHandshake:
    """What a rollout engine needs to join the learner's gloo group.

    Attributes:
        master_address: Host of learner rank 0, which is rank 0 of the group.
        master_port: Port of its TCP store.
        rank_offset: Rank of the engine's first worker process in the group.
        world_size: Learner rank 0 plus the worker processes of all engines.
        bucket_bytes: Largest buffer, unless a single parameter is larger.
        timeout_s: Longest wait for a peer, in seconds.
    """

    master_address: str
    master_port: int
    rank_offset: int
    world_size: int
    bucket_bytes: int
    timeout_s: float


@dataclass
class GlooUpdate:
    """What is about to be broadcast, in order. `dtype_names` are those of torch: `bfloat16`."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.dtype_names) == len(self.shapes):
            raise ValueError(
                f"{len(self.names)} names, {len(self.dtype_names)} dtypes and {len(self.shapes)} shapes "
                "do not describe the same parameters"
            )

    def parameters(self) -> list[Parameter]:
        """The described parameters, in order."""
        return [
            Parameter(name, getattr(torch, dtype_name), tuple(shape))
            for name, dtype_name, shape in zip(self.names, self.dtype_names, self.shapes, strict=True)
        ]


@dataclass(frozen=True)
class Parameter:
    """Name, dtype and full shape of one parameter."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the values, bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Bucket:
    """Parameters that travel in one buffer."""

    parameters: tuple[Parameter, ...]

    @property
    def nbytes(self) -> int:
        """Size on the wire, bytes: every parameter starts at an aligned place."""
        return sum(_aligned(parameter.nbytes) for parameter in self.parameters)

    def views(self, buffer: torch.Tensor) -> Iterator[tuple[Parameter, torch.Tensor]]:
        """Each parameter with its place in `buffer` (uint8, `[nbytes]`), typed and shaped."""
        offset = 0
        for parameter in self.parameters:
            place = buffer[offset : offset + parameter.nbytes]
            yield parameter, place.view(parameter.dtype).view(parameter.shape)
            offset += _aligned(parameter.nbytes)


def plan_buckets(parameters: Sequence[Parameter], bucket_bytes: int) -> list[Bucket]:
    """Split parameters, in order, into buckets of at most `bucket_bytes`; a larger parameter gets its own."""
    buckets: list[list[Parameter]] = []
    filled = 0
    for parameter in parameters:
        size = _aligned(parameter.nbytes)
        if not buckets or filled + size > bucket_bytes:
            buckets.append([])
            filled = 0
        buckets[-1].append(parameter)
        filled += size
    return [Bucket(tuple(bucket)) for bucket in buckets]


def fill_buckets(
    buckets: Sequence[Bucket], tensors: Iterable[tuple[str, torch.Tensor]]
) -> Iterator[tuple[Bucket, torch.Tensor]]:
    """Pack a stream of named tensors, one buffer at a time; each buffer is freshly allocated.

    Raises:
        ValueError: the stream is not exactly what the buckets declare; names the first parameter that differs.
    """
    stream = iter(tensors)
    for bucket in buckets:
        buffer = torch.empty(bucket.nbytes, dtype=torch.uint8)
        for parameter, place in bucket.views(buffer):
            name, tensor = next(stream, ("nothing", None))
            if tensor is None or (name, tensor.dtype, tuple(tensor.shape)) != (
                parameter.name,
                parameter.dtype,
                parameter.shape,
            ):
                raise ValueError(f"expected {_describe(parameter)}, the source gave {_found(name, tensor)}")
            place.copy_(tensor.detach())
        yield bucket, buffer
    extra = next(stream, None)
    if extra is not None:
        raise ValueError(f"the source gave {extra[0]}, which its metadata does not declare")


def checksum(tensor: torch.Tensor) -> str:
    """SHA-256 of a tensor's bytes."""
    flat = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def _aligned(nbytes: int) -> int:
    return math.ceil(nbytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _describe(parameter: Parameter) -> str:
    return f"{parameter.name} {parameter.dtype} {list(parameter.shape)}"


def _found(name: str, tensor: torch.Tensor | None) -> str:
    return name if tensor is None else f"{name} {tensor.dtype} {list(tensor.shape)}"
