"""Where a run stands, read from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.config import RunConfig
from learner.checkpoint import newest_complete, read_client_state

CHECKPOINTS = "checkpoints"
POLICY = "policy"
COLD_START_POLICY = "cold_start_policy"
COLD_START_CHECKPOINTS = "cold_start_checkpoints"


@dataclass(frozen=True)
class Frontier:
    """Where training stands: what a checkpoint stores beside the learner's state.

    Attributes:
        step: Optimizer steps of GRPO taken.
        version: Weight version of the learner.
        curriculum: State of the curriculum; empty at the beginning.
        drawn: Number and id of the prompts that were drawn for later steps.
    """

    step: int = 0
    version: int = 0
    curriculum: Mapping[str, Any] = field(default_factory=dict)
    drawn: Sequence[Sequence[Any]] = ()


def last_frontier(config: RunConfig) -> Frontier:
    """Where the newest complete checkpoint of a run stands, read without a learner."""
    newest, _ = newest_complete(config.run_dir / CHECKPOINTS)
    return Frontier(**read_client_state(newest)) if newest else Frontier()


def cold_start_step(config: RunConfig) -> int:
    """Step of the supervised stage that its newest complete checkpoint is of; 0 where there is none."""
    newest, _ = newest_complete(config.run_dir / COLD_START_CHECKPOINTS)
    return int(read_client_state(newest)["step"]) if newest else 0
