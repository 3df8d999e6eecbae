"""Where a run stands, read from what its folder holds."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.config import RunConfig
from learner.checkpoint import newest_complete, read_client_state

CHECKPOINTS = "checkpoints"
COLD_START_POLICY = "cold_start_policy"


@dataclass(frozen=True)
class Frontier:
    """Where training stands: what a checkpoint stores beside the learner's state.

    Attributes:
        step: Optimizer steps of GRPO taken.
        position: Position in the prompt stream.
        version: Weight version of the learner.
    """

    step: int = 0
    position: int = 0
    version: int = 0


def last_frontier(config: RunConfig) -> Frontier:
    """Where the newest complete checkpoint of a run stands, read without a learner."""
    newest, _ = newest_complete(config.run_dir / CHECKPOINTS)
    return Frontier(**read_client_state(newest)) if newest else Frontier()
