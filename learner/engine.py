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
import torch.distributed as dist
from deepspeed.ops.adam import DeepSpeedCPUAdam
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor, nn
from torch._C._distributed_c10d import TCPStore

from data.interfaces import keep_gloo_towards, listen_on
from data.tools_path import put_own_programs_first
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
        master_addr, master_port: Where rank 0 listens, on that address alone.
        timeout: Seconds until a collective that a peer does not join raises.
    """
    put_own_programs_first()
    deepspeed.utils.logger.setLevel(logging.WARNING)
    # DeepSpeed calls collectives by names that this torch wants replaced, once per bucket.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    os.environ["DEEPSPEED_TIMEOUT"] = str(max(1, int(timeout // 60)))
    os.environ["LOCAL_RANK"] = "0"
    # DeepSpeed would compile an operator for shared-memory inference collectives here, which training never
    # calls.
    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OP] = False
    backend, longest = "nccl" if torch.cuda.is_available() else "gloo", timedelta(seconds=timeout)
    if not dist.is_initialized():
        keep_gloo_towards(master_addr)
        store = _store(master_addr, master_port, rank, world_size, longest)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=longest)
    # Takes the group that is there.
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False, timeout=longest)


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


def _store(address: str, port: int, rank: int, world_size: int, timeout: timedelta) -> TCPStore:
    """Where the ranks find each other. A store that opens its own socket would listen on every interface."""
    if rank > 0:
        return TCPStore(address, port, world_size, is_master=False, timeout=timeout)
    listener = listen_on(address, port).detach()
    return TCPStore(address, port, world_size, is_master=True, timeout=timeout, master_listen_fd=listener)


def _optimizer(scorer: nn.Module, settings: LearnerSettings) -> torch.optim.Optimizer:
    groups = optimizer_groups(scorer, settings.weight_decay)
    common: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas, "eps": EPSILON}
    if settings.offload_optimizer:
        # Compiled on first use, which takes a C++ compiler and half a minute.
        offloaded: torch.optim.Optimizer = DeepSpeedCPUAdam(groups, **common)
        return offloaded
    # Not fused, a step keeps copies of a whole group of parameters on the GPU.
    return torch.optim.AdamW(groups, **common, fused=device_of_rank().type == "cuda" or None)
