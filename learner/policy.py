"""Loading the policy from a local folder or the Hub, partitioned from the start under ZeRO-3."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration
from transformers.integrations.deepspeed import HfDeepSpeedConfig

from learner.lora import add_adapters
from learner.settings import LearnerSettings

MODEL_TYPE = "qwen2_5_vl"


class UnsupportedPolicyError(ValueError):
    """The checkpoint is of an architecture whose video input the learner does not know."""


def load_policy(
    path: str, settings: LearnerSettings, ds_config: dict[str, Any]
) -> Qwen2_5_VLForConditionalGeneration:
    """Load the policy for training.

    Under ZeRO-3 every parameter is partitioned over the ranks as soon as it is created (DeepSpeed `zero.Init`
    through transformers), so no rank ever holds the whole model. Called on all ranks at the same time.

    Args:
        path: Folder or Hub id.
        ds_config: What `deepspeed.initialize` will be given.

    Raises:
        UnsupportedPolicyError: not a Qwen2.5-VL checkpoint.
        OSError: no such model.
    """
    model = _load(path, settings, ds_config)
    model.train()
    if settings.lora_rank:
        add_adapters(model, settings.lora_rank, settings.lora_alpha)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if settings.freeze_vision:
        model.model.visual.requires_grad_(False)
    return model


def load_reference_policy(
    path: str, settings: LearnerSettings, ds_config: dict[str, Any]
) -> Qwen2_5_VLForConditionalGeneration:
    """Load the frozen policy that the KL penalty pulls towards. Same arguments as `load_policy`."""
    model = _load(path, settings, ds_config)
    model.requires_grad_(False)
    model.eval()
    return model


def optimizer_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay, biases and norm scales do not."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if _num_dims(parameter) > 1]
    others = [parameter for parameter in trainable if _num_dims(parameter) <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _num_dims(parameter: nn.Parameter) -> int:
    """Under ZeRO-3 the parameter itself is a flat shard."""
    return len(getattr(parameter, "ds_shape", parameter.shape))


def _load(
    path: str, settings: LearnerSettings, ds_config: dict[str, Any]
) -> Qwen2_5_VLForConditionalGeneration:
    model_type = AutoConfig.from_pretrained(path, trust_remote_code=False).model_type
    if model_type != MODEL_TYPE:
        raise UnsupportedPolicyError(f"{path} is a {model_type} checkpoint; the learner trains {MODEL_TYPE}")
    # transformers partitions while loading for as long as this object is alive.
    partitioning = HfDeepSpeedConfig(ds_config) if settings.zero_stage == 3 else None
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        path, dtype=getattr(torch, settings.dtype), attn_implementation="sdpa", trust_remote_code=False
    )
    del partitioning
    restore_rotary_frequencies(model)
    return model


def restore_rotary_frequencies(model: nn.Module) -> None:
    """Give rotary embeddings their float32 frequencies back.

    DeepSpeed's `zero.Init` makes every tensor of a half-precision model that is created under it half precision,
    the frequencies among them: a position a thousand tokens in would be turned by the wrong angle, and rollout
    and learner would disagree without a word.
    """
    for module in model.modules():
        if hasattr(module, "original_inv_freq"):
            fresh = type(module)(module.config)
            for name in ("inv_freq", "original_inv_freq"):
                getattr(module, name).data = getattr(fresh, name).to(getattr(module, name).device)
