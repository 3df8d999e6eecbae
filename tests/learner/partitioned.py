"""ZeRO-3 that partitions the tiny policy.

DeepSpeed leaves parameters of up to 100,000 elements whole on every rank by default
(`stage3_param_persistence_threshold`), which are all that the tests' policies have: nothing would ever be gathered.
"""

from __future__ import annotations

from typing import Any

from learner.deepspeed_config import deepspeed_config
from learner.settings import LearnerSettings


def partition_everything(settings: LearnerSettings, world_size: int) -> dict[str, Any]:
    """In the place of `deepspeed_config`: under ZeRO-3 no parameter is whole outside the passes that need it."""
    config = deepspeed_config(settings, world_size)
    if settings.zero_stage == 3:
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    return config
