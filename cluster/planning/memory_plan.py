"""How much memory a run will take, by process and by kind: an estimate, made before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, field

from cluster.config import RunConfig
from cluster.config.checks import TEXT_TOKENS, most_video_tokens
from cluster.planning.model_geometry import ModelGeometry

GIB = 2**30
# What one process takes of a GPU before it has a tensor there: CUDA's context, and NCCL's channels.
CUDA_GIB = 1.0
# Patches that the vision tower merges into one token.
PATCHES = 4
# `learner.forward` computes logits in float32 pieces of this size; about five of them are alive in its backward pass.
LOGITS_BYTES, LOGITS_ALIVE = 2**28, 5


@dataclass(frozen=True)
class ProcessMemory:
    """What one process of a kind holds.

    Attributes:
        process: Which, in words.
        count: How many there are.
        where: `GPU` (each of its GPUs) or `host`.
        gib: Size of each part by name, GiB.
    """

    process: str
    count: int
    where: str
    gib: dict[str, float] = field(default_factory=dict)

    @property
    def total_gib(self) -> float:
        """All parts of one process, GiB."""
        return sum(self.gib.values())


def memory_plan(config: RunConfig, geometry: ModelGeometry, learns: bool = True) -> list[ProcessMemory]:
    """The memory of every process that holds weights, and of the clips.

    Args:
        learns: Whether there is a learner; an evaluation has none.

    On the host the resident code of a Python process with torch comes on top, about 1 GiB each.
    """
    return [
        _rollout(config, geometry, learns),
        *(_learner(config, geometry) if learns else ()),
        ProcessMemory("object store", 1, "host", {"decoded clips": config.data.cache_gib}),
    ]


def kv_bytes_per_token(config: RunConfig, geometry: ModelGeometry) -> int:
    """Bytes of keys and values that one token leaves in the cache of an engine."""
    return 2 * geometry.layers * geometry.kv_width * _weight_bytes(config)


def _rollout(config: RunConfig, geometry: ModelGeometry, learns: bool) -> ProcessMemory:
    parts = config.rollout.tensor_parallel_size
    sequences = config.rollout.max_concurrent * config.max_model_tokens
    cache = sequences * kv_bytes_per_token(config, geometry) / parts / GIB
    on_gpu = config.rollout.gpus_per_worker > 0
    return ProcessMemory(
        "rollout worker",
        config.rollout.num_workers,
        "GPU" if on_gpu else "host",
        {
            "weights": geometry.parameters * _weight_bytes(config) / (parts if on_gpu else 1) / GIB,
            "KV cache": cache if on_gpu else config.rollout.kv_cache_gib,
            **({"sync bucket": config.sync.bucket_mib / 1024} if learns else {}),
        },
    )


def _learner(config: RunConfig, geometry: ModelGeometry) -> list[ProcessMemory]:
    """Model states as in ZeRO (arXiv 1910.02054, section 3.1): its stage says which the ranks divide."""
    learner = config.learner
    trained = _trained(config, geometry)
    weights = geometry.parameters * _weight_bytes(config) / _share(config, 3) / GIB
    optimizer = {"optimizer": trained * _optimizer_bytes(config) / _share(config, 1) / GIB}
    held = {
        "weights": weights,
        "gradients": trained * _gradient_bytes(config) / _share(config, 2) / GIB,
        **({} if learner.offload_optimizer else optimizer),
        **({"reference": weights} if config.needs_reference else {}),
        **_frozen_tower(config, geometry),
        "activations": _activation_bytes(config, geometry) / GIB,
        "tower activations": _tower_activation_bytes(config, geometry) / GIB,
        "logits": _logit_bytes(config, geometry) / GIB,
        "DeepSpeed buffers": _buffer_bytes(config, geometry) / GIB,
        "sync bucket": config.sync.bucket_mib / 1024,
        **({"CUDA": CUDA_GIB} if learner.gpus_per_worker > 0 else {}),
    }
    where = "GPU" if learner.gpus_per_worker > 0 else "host"
    ranks = [ProcessMemory("learner rank", learner.num_workers, where, held)]
    if learner.offload_optimizer:
        ranks.append(ProcessMemory("learner rank", learner.num_workers, "host", optimizer))
    return ranks


def _trained(config: RunConfig, geometry: ModelGeometry) -> int:
    """Parameters with gradients and optimizer state."""
    if rank := config.learner.lora_rank:
        hidden, keys, inner = geometry.hidden, geometry.kv_width, geometry.intermediate
        widths = 2 * (hidden + hidden) + 2 * (hidden + keys) + 3 * (hidden + inner)
        return rank * widths * geometry.layers
    return geometry.parameters - (geometry.vision_parameters if config.tower_is_frozen else 0)


def _share(config: RunConfig, stage: int) -> int:
    """Ranks that divide what this ZeRO stage and those above it shard."""
    return config.learner.num_workers if config.learner.zero_stage >= stage else 1


def _optimizer_bytes(config: RunConfig) -> int:
    """AdamW per trained parameter: two float32 moments, and a float32 copy wherever DeepSpeed keeps one."""
    plain = config.model.dtype == "float32" and config.learner.zero_stage == 0
    return 8 if plain else 12


def _gradient_bytes(config: RunConfig) -> int:
    """Per trained parameter: float32, and in ZeRO stage 1 beside bfloat16 weights those of the backward pass as well.

    From stage 2 on the latter are gone as soon as they are reduced.
    """
    return 4 + (2 if config.model.dtype == "bfloat16" and config.learner.zero_stage < 2 else 0)


def _frozen_tower(config: RunConfig, geometry: ModelGeometry) -> dict[str, float]:
    """Under ZeRO-3 every rank holds a frozen tower whole, beside its part of the partitioned one."""
    if not config.tower_is_frozen or config.learner.zero_stage < 3:
        return {}
    return {"frozen tower": geometry.vision_parameters * _weight_bytes(config) / GIB}


def _activation_bytes(config: RunConfig, geometry: ModelGeometry) -> float:
    """Activations of the language model for one micro-batch."""
    saved = saved_numbers(geometry.hidden, geometry.intermediate)
    full_layers = 1 if config.learner.gradient_checkpointing else geometry.layers
    inputs = geometry.layers * geometry.hidden if config.learner.gradient_checkpointing else 0
    return config.learner.micro_batch_tokens * (inputs + full_layers * saved) * _weight_bytes(config)


def _tower_activation_bytes(config: RunConfig, geometry: ModelGeometry) -> float:
    """Of the vision tower: one layer for one clip where it is frozen, else as many clips as a micro-batch takes."""
    video = most_video_tokens(config)
    saved = saved_numbers(geometry.vision_hidden, geometry.vision_intermediate)
    layer = PATCHES * video * saved * _weight_bytes(config)
    if config.tower_is_frozen:
        return layer
    clips = max(1, config.learner.micro_batch_tokens // (video + TEXT_TOKENS))
    if not config.learner.gradient_checkpointing:
        return clips * layer * geometry.vision_layers
    inputs = PATCHES * video * geometry.vision_hidden * geometry.vision_layers * _weight_bytes(config)
    return clips * (inputs + layer)


def saved_numbers(width: int, inner: int) -> int:
    """Numbers per token that one layer keeps for its backward pass; under checkpointing only its input stays.

    Both norms keep their input in float32 and two results; attention its queries, keys, values (as many as fit twice
    into the rest) and result; the gated MLP four tensors of its inner width. Fused attention keeps no weights.
    """
    return 11 * width + 4 * inner


def _logit_bytes(config: RunConfig, geometry: ModelGeometry) -> int:
    return LOGITS_ALIVE * min(LOGITS_BYTES, 4 * geometry.vocabulary * config.learner.micro_batch_tokens)


def _buffer_bytes(config: RunConfig, geometry: ModelGeometry) -> float:
    """DeepSpeed's buckets at their defaults: 5e8 numbers to reduce, as many to gather or, in stage 3, 1e9 in use."""
    numbers = (0, 1e9, 1e9, 1.5e9)[config.learner.zero_stage]
    return min(numbers, _trained(config, geometry)) * _weight_bytes(config)


def _weight_bytes(config: RunConfig) -> int:
    return 4 if config.model.dtype == "float32" else 2
