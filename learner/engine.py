"""Bringing DeepSpeed up: the environment it reads, the process group, the engines."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import deepspeed
import torch
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor, nn

from learner.forward import ResponseScorer
from learner.policy import load_policy, load_reference_policy, optimizer_groups
from learner.settings import LearnerSettings

SHARED_MEMORY_OP = "deepspeed_shm_comm"
EPSILON = 1e-8


def device_of_rank() -> torch.device:
    """Ray shows each rank only its own GPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def join_process_group(
    master_addr: str, master_port: int, rank: int, world_size: int, timeout: float
) -> None:
    """Set up torch.distributed for DeepSpeed: NCCL on GPUs, gloo without.

    Args:
        timeout: Seconds until a collective that a peer does not join raises.
    """
    deepspeed.utils.logger.setLevel(logging.WARNING)
    # DeepSpeed calls collectives by names that this torch wants replaced, once per bucket.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    os.environ["DEEPSPEED_TIMEOUT"] = str(max(1, int(timeout // 60)))
    os.environ["LOCAL_RANK"] = "0"
    # DeepSpeed would compile an operator for shared-memory inference collectives here, which training never
    # calls.
    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False
    deepspeed.init_distributed(
        dist_backend="nccl" if torch.cuda.is_available() else "gloo",
        auto_mpi_discovery=False,
        verbose=False,
        timeout=timedelta(seconds=timeout),
        init_method=f"tcp://{master_addr}:{master_port}",
        rank=rank,
        world_size=world_size,
    )


def build_engine(path: str, settings: LearnerSettings, ds_config: dict[str, Any]) -> DeepSpeedEngine:
    """The policy under DeepSpeed with AdamW. Collective."""
    scorer = ResponseScorer(load_policy(path, settings, ds_config), settings.banned_token_ids)
    optimizer = _optimizer(scorer, settings)
    engine: DeepSpeedEngine = deepspeed.initialize(model=scorer, optimizer=optimizer, config=ds_config)[0]
    return engine


def build_reference(path: str, settings: LearnerSettings, ds_config: dict[str, Any]) -> nn.Module:
    """The frozen reference policy; partitioned under ZeRO-3, whole on every rank otherwise. Collective."""
    scorer = ResponseScorer(
        load_reference_policy(path, settings, ds_config), settings.banned_token_ids
    ).eval()
    if settings.zero_stage < 3:
        return scorer.to(device_of_rank())
    engine: nn.Module = deepspeed.initialize(model=scorer, config=ds_config)[0]
    return engine


def gradient_norm(engine: DeepSpeedEngine) -> float | None:
    """Norm of the reduced gradients before the step; None where DeepSpeed reports it after the step.

    Without ZeRO DeepSpeed clips but keeps no norm.
    """
    if engine.zero_optimization():
        return None
    gradients: Sequence[Tensor] = [p.grad for p in engine.module.parameters() if p.grad is not None]
    return float(nn.utils.get_total_norm(gradients))


def _optimizer(scorer: nn.Module, settings: LearnerSettings) -> torch.optim.Optimizer:
    groups = optimizer_groups(scorer, settings.weight_decay)
    # The CPU version is compiled on first use, which takes a C++ compiler and half a minute.
    kind = DeepSpeedCPUAdam if settings.offload_optimizer else torch.optim.AdamW
    optimizer: torch.optim.Optimizer = kind(
        groups, lr=settings.learning_rate, betas=settings.betas, eps=EPSILON
    )
    return optimizer
