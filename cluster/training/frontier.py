"""Where a run stands, read from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.errors import RunFailure
from learner.checkpoint import CLIENT_STATE, newest_complete, read_client_state

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
    return frontier_of(read_client_state(newest), newest) if newest else Frontier()


def frontier_of(state: Mapping[str, Any], checkpoint: Path) -> Frontier:
    """Where a checkpoint's client state says that training stands.

    Raises:
        RunFailure: it says something else.
    """
    step, version = state.get("step", 0), state.get("version", 0)
    curriculum, drawn = state.get("curriculum", {}), state.get("drawn", ())
    is_one = (
        state.keys() <= {each.name for each in fields(Frontier)}
        and all(type(number) is int and number >= 0 for number in (step, version))
        and isinstance(curriculum, Mapping)
        and isinstance(drawn, list | tuple)
        and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in drawn)
    )
    if not is_one:
        raise RunFailure(
            f"{checkpoint} is of another version, or damaged: its {CLIENT_STATE} does not say where training stands. "
            "Delete that checkpoint to resume from the one before."
        )
    return Frontier(step, version, curriculum, drawn)


def cold_start_step(config: RunConfig) -> int:
    """Step of the supervised stage that its newest complete checkpoint is of; 0 where there is none.

    Raises:
        RunFailure: its client state says no step.
    """
    newest, _ = newest_complete(config.run_dir / COLD_START_CHECKPOINTS)
    step = read_client_state(newest).get("step") if newest else 0
    if type(step) is not int:
        raise RunFailure(
            f"{newest} says no step in its {CLIENT_STATE}; delete it to resume from the one before"
        )
    return step
