"""What to change in the YAML of a run that does not fit into its GPUs, and what it would then need."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cluster.config import RunConfig
from cluster.planning.gpu_fit import ENGINE, Fit, gpu_fits, share_gpus
from cluster.planning.model_geometry import ModelGeometry

# What an engine with a GPU to itself is advised to take, and the width of adapters to begin with.
MOST_UTILIZATION, LORA_RANK = 0.9, 32
# A change that gains less is not worth a line, GiB.
LEAST_GAIN = 0.1

Change = Mapping[str, Any]
"""New values by dotted key; empty where there is nothing to change."""


@dataclass(frozen=True)
class Remedy:
    """A change of the configuration, made together with those before it.

    Attributes:
        changes: In YAML, `learner.zero_stage: 3`.
        alters_learning: Whether another policy comes out of it.
        then: How the process fits after it.
    """

    changes: str
    alters_learning: bool
    then: Fit


def remedies(config: RunConfig, geometry: ModelGeometry, gpu_gib: float, process: str) -> list[Remedy]:
    """Changes that bring a process nearer to fitting, each on top of those before, up to the one that is enough.

    What leaves the learning as it is comes first.
    """
    found: list[Remedy] = []
    fits = gpu_fits(config, geometry, gpu_gib)
    for propose in _FOR_ENGINES if process == ENGINE else _FOR_RANKS:
        if fits[process].fits:
            break
        change = propose(config)
        changed = with_changes(config, change)
        after = gpu_fits(changed, geometry, gpu_gib)
        gain = fits[process].missing - after[process].missing
        if gain >= LEAST_GAIN and not any(fits[name].fits and not after[name].fits for name in fits):
            found.append(Remedy(_in_yaml(change), propose in _ALTERING, after[process]))
            config, fits = changed, after
    return found


def with_changes(config: RunConfig, change: Change) -> RunConfig:
    """The configuration with these values; they are not checked."""
    for key, value in change.items():
        section, name = key.split(".")
        fields = getattr(config, section).model_copy(update={name: value})
        config = config.model_copy(update={section: fields})
    return config


def _in_yaml(change: Change) -> str:
    return ", ".join(f"{key}: {json.dumps(value)}" for key, value in change.items())


def _checkpointing(config: RunConfig) -> Change:
    return {"learner.gradient_checkpointing": True}


def _zero(config: RunConfig) -> Change:
    """On one rank stage 2 is the most that helps: gradients of the backward pass do not stay."""
    most = 3 if config.learner.num_workers > 1 else 2
    return {"learner.zero_stage": max(most, config.learner.zero_stage)}


def _token_budget(config: RunConfig) -> Change:
    """The smallest that still takes a prompt with its longest response."""
    return {"learner.micro_batch_tokens": min(config.learner.micro_batch_tokens, config.max_model_tokens)}


def _half_precision(config: RunConfig) -> Change:
    if config.model.dtype == "bfloat16":
        return {}
    # An evaluation has no learner.
    trains = config.learner.gpus_per_worker > 0
    return {"model.dtype": "bfloat16"} | (
        {"learner.zero_stage": max(1, config.learner.zero_stage)} if trains else {}
    )


def _offload(config: RunConfig) -> Change:
    stage = {} if config.learner.zero_stage else {"learner.zero_stage": 1}
    return {**stage, "learner.offload_optimizer": True}


def _engine_takes_less(config: RunConfig) -> Change:
    """For a learner rank beside engines."""
    less = math.floor(50 * config.rollout.gpu_memory_utilization) / 100
    return {"rollout.gpu_memory_utilization": less} if share_gpus(config) else {}


def _gpus_of_their_own(config: RunConfig) -> Change:
    if not share_gpus(config):
        return {}
    return {"rollout.gpus_per_worker": 1.0, "learner.gpus_per_worker": 1.0}


def _freeze_vision(config: RunConfig) -> Change:
    return {} if config.tower_is_frozen else {"learner.freeze_vision": True}


def _no_reference(config: RunConfig) -> Change:
    return {"grpo.kl_coef": 0.0} if config.needs_reference else {}


def _adapters(config: RunConfig) -> Change:
    return {} if config.learner.lora_rank else {"learner.lora_rank": LORA_RANK}


def _engine_takes_more(config: RunConfig) -> Change:
    """A share of a GPU bounds what may be taken of its memory."""
    most = min(MOST_UTILIZATION, config.rollout.gpus_per_worker)
    return {"rollout.gpu_memory_utilization": max(most, config.rollout.gpu_memory_utilization)}


def _whole_gpu(config: RunConfig) -> Change:
    if config.rollout.gpus_per_worker >= 1:
        return {}
    rank = {"learner.gpus_per_worker": 1.0} if share_gpus(config) else {}
    return {"rollout.gpus_per_worker": 1.0, "rollout.gpu_memory_utilization": MOST_UTILIZATION, **rank}


def _two_gpus(config: RunConfig) -> Change:
    size = 2 * config.rollout.tensor_parallel_size
    return {"rollout.tensor_parallel_size": size, "rollout.gpus_per_worker": float(size)}


_ALTERING = (_freeze_vision, _no_reference, _adapters)
_FOR_RANKS: tuple[Callable[[RunConfig], Change], ...] = (
    _checkpointing,
    _zero,
    _token_budget,
    _half_precision,
    _offload,
    _engine_takes_less,
    _gpus_of_their_own,
    *_ALTERING,
)
_FOR_ENGINES: tuple[Callable[[RunConfig], Change], ...] = (
    _half_precision,
    _engine_takes_more,
    _whole_gpu,
    _two_gpus,
    _two_gpus,
)
