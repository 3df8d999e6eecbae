"""The DeepSpeed configuration of a run, derived from the learner settings; nobody writes one by hand."""

from __future__ import annotations

from typing import Any

from learner.settings import LearnerSettings

# No training loop counts samples through DeepSpeed: our micro-batches hold a varying number of rows, and
# `step` says which of them ends the batch. DeepSpeed only has to find these consistent with each other.
ROWS_PER_MICRO_BATCH = 1


def deepspeed_config(settings: LearnerSettings, world_size: int) -> dict[str, Any]:
    """The dictionary that `deepspeed.initialize` takes.

    Args:
        world_size: Number of learner ranks.

    Without ZeRO DeepSpeed has no float32 gradients beside bfloat16 weights: it raises NotImplementedError.
    """
    config: dict[str, Any] = {
        "train_batch_size": ROWS_PER_MICRO_BATCH * world_size,
        "train_micro_batch_size_per_gpu": ROWS_PER_MICRO_BATCH,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": settings.dtype == "bfloat16"},
        "zero_optimization": _zero(settings),
        # The run has its own metrics.
        "steps_per_print": None,
        "wall_clock_breakdown": False,
    }
    if settings.dtype == "bfloat16":
        # In bfloat16 a sum over micro-batches or ranks loses what is below 1/256 of it.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
        config["communication_data_type"] = "fp32"
    return config


def _zero(settings: LearnerSettings) -> dict[str, Any]:
    zero: dict[str, Any] = {"stage": settings.zero_stage}
    if settings.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    return zero
