"""The memory plan's arithmetic, worked by hand for Qwen2.5-VL-7B."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLTextConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLDecoderLayer

from cluster.config import RunConfig
from cluster.planning.memory_plan import (
    GIB,
    ProcessMemory,
    kv_bytes_per_token,
    memory_plan,
    saved_numbers,
)
from cluster.planning.model_geometry import ModelGeometry, find_geometry

PATH = "Qwen/Qwen2.5-VL-7B-Instruct"
GEOMETRY = find_geometry(PATH) or pytest.fail("7B is built in")
WEIGHTS = 2 * 8_292_166_656 / GIB


def plan(
    geometry: ModelGeometry = GEOMETRY, **sections: dict[str, Any]
) -> dict[tuple[str, str], ProcessMemory]:
    sections = {"model": {"path": PATH, "dtype": "bfloat16"}, **sections}
    config = RunConfig.model_validate(sections)
    return {(process.process, process.where): process for process in memory_plan(config, geometry)}


def learner(stage: int, **fields: Any) -> dict[str, float]:
    settings = {"num_workers": 4, "gpus_per_worker": 1.0, "zero_stage": stage, **fields}
    return plan(learner=settings)["learner rank", "GPU"].gib


@pytest.mark.parametrize(
    ("stage", "weights", "gradients", "optimizer"),
    [(1, 1, 1, 4), (2, 1, 4, 4), (3, 4, 4, 4)],
)
def test_each_zero_stage_shards_one_thing_more(
    stage: int, weights: int, gradients: int, optimizer: int
) -> None:
    gib = learner(stage)
    assert gib["weights"] == pytest.approx(WEIGHTS / weights)
    # In float32; whole ones are beside those in bfloat16 that the backward pass leaves.
    assert gib["gradients"] == pytest.approx((3 if gradients == 1 else 2) * WEIGHTS / gradients)
    assert gib["optimizer"] == pytest.approx(6 * WEIGHTS / optimizer)


def test_the_reference_policy_is_loaded_for_a_kl_only() -> None:
    ranks = {"num_workers": 4, "gpus_per_worker": 1.0, "zero_stage": 3}
    with_kl = plan(learner=ranks, grpo={"kl_coef": 0.04})["learner rank", "GPU"].gib
    assert with_kl["reference"] == pytest.approx(WEIGHTS / 4)
    assert "reference" not in plan(learner=ranks)["learner rank", "GPU"].gib


def test_offloading_moves_the_optimizer_to_the_host() -> None:
    moved = plan(learner={"gpus_per_worker": 1.0, "offload_optimizer": True})
    assert "optimizer" not in moved["learner rank", "GPU"].gib
    assert moved["learner rank", "host"].gib == {"optimizer": pytest.approx(6 * WEIGHTS)}


def test_a_frozen_vision_tower_has_no_gradients_and_no_optimizer() -> None:
    trained = 8_292_166_656 - 676_550_144
    gib = learner(3, freeze_vision=True)
    assert gib["weights"] == pytest.approx(WEIGHTS / 4)
    assert gib["gradients"] == pytest.approx(4 * trained / GIB / 4)
    assert gib["optimizer"] == pytest.approx(12 * trained / GIB / 4)


def test_checkpointing_saves_activations() -> None:
    layer = 11 * 3584 + 4 * 18944
    kept = learner(3, micro_batch_tokens=16384)["activations"]
    assert kept == pytest.approx(16384 * 2 * 28 * layer / GIB)
    recomputed = learner(3, micro_batch_tokens=16384, gradient_checkpointing=True)["activations"]
    assert recomputed == pytest.approx(16384 * 2 * (28 * 3584 + layer) / GIB)


def test_a_tower_that_trains_keeps_the_layers_of_every_clip_and_a_frozen_one_a_layer_of_one() -> None:
    # 2,048 tokens of four patches are most of a clip, and seven clips with their texts most of a micro-batch.
    layer = 4 * 2048 * 2 * (11 * 1280 + 4 * 3420) / GIB
    assert learner(2, micro_batch_tokens=16384)["tower activations"] == pytest.approx(7 * 32 * layer)
    assert learner(2, freeze_vision=True)["tower activations"] == pytest.approx(layer)
    assert learner(3, freeze_vision=True)["frozen tower"] == pytest.approx(2 * 676_550_144 / GIB)
    assert "frozen tower" not in learner(3)


def test_a_layer_keeps_what_the_plan_says() -> None:
    """What autograd keeps, counted at widths that are not each other's multiples."""
    width, inner, tokens = 192, 1016, 64
    language = Qwen2_5_VLTextConfig(
        hidden_size=width, intermediate_size=inner, num_attention_heads=6, num_key_value_heads=2,
        rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
    )  # fmt: skip
    language._attn_implementation = "sdpa"
    layer = Qwen2_5_VLDecoderLayer(language, 0).bfloat16()
    turn = torch.zeros(1, tokens, 32, dtype=torch.bfloat16)
    kept = saved_bytes(
        layer, torch.zeros(1, tokens, width, dtype=torch.bfloat16), position_embeddings=(turn, turn)
    )
    assert kept == pytest.approx(2 * tokens * saved_numbers(width, inner), rel=0.1)


def saved_bytes(layer: nn.Module, hidden: Tensor, **arguments: Any) -> int:
    """What a layer's forward pass keeps beside its weights, each storage once."""
    own = {parameter.untyped_storage().data_ptr() for parameter in layer.parameters()}
    kept: dict[int, int] = {}
    held: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held.append(tensor)
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(hidden.requires_grad_(), **arguments)
    return sum(kept.values())


def test_tensor_parallel_divides_an_engine() -> None:
    gib = plan(rollout={"tensor_parallel_size": 2, "gpus_per_worker": 2.0})["rollout worker", "GPU"].gib
    assert gib["weights"] == pytest.approx(WEIGHTS / 2)
    tokens = 64 * (3072 + 512)
    assert gib["KV cache"] == pytest.approx(tokens * 57344 / 2 / GIB)


def test_keys_and_values_of_a_token() -> None:
    config = RunConfig.model_validate({"model": {"path": PATH, "dtype": "bfloat16"}})
    assert kv_bytes_per_token(config, GEOMETRY) == 2 * 28 * 4 * 128 * 2


def test_on_the_cpu_the_cache_is_what_is_configured() -> None:
    memory = plan(model={"path": PATH, "dtype": "float32"}, rollout={"kv_cache_gib": 3})
    assert memory["rollout worker", "host"].gib["KV cache"] == 3
    assert memory["rollout worker", "host"].gib["weights"] == pytest.approx(2 * WEIGHTS)
    assert memory["object store", "host"].gib == {"decoded clips": 0.5}
