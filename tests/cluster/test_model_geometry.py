"""Parameter counts from a configuration alone, against the real thing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from cluster.config import TINY
from cluster.planning.model_geometry import CONFIG_FILE, find_geometry, geometry
from learner.tiny_policy import build_tiny_policy

# Counts of the published checkpoints' weights.
PUBLISHED = {"3B": 3_754_622_976, "7B": 8_292_166_656, "72B": 73_410_777_344}


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes(size: str) -> None:
    found = find_geometry(f"Qwen/Qwen2.5-VL-{size}-Instruct")
    assert found
    assert found.parameters == PUBLISHED[size]


@pytest.mark.parametrize("tied", [True, False])
def test_a_count_equals_the_model(tied: bool) -> None:
    text = {
        "hidden_size": 96,
        "intermediate_size": 200,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "vocab_size": 300,
        "max_position_embeddings": 512,
        "tie_word_embeddings": tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 80, "num_heads": 4, "out_hidden_size": 96}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    found = geometry(json.loads(config.to_json_string(use_diff=False)))
    assert found
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert found.vision_parameters == sum(parameter.numel() for parameter in model.model.visual.parameters())
    assert (found.layers, found.hidden, found.kv_width, found.max_tokens) == (3, 96, 32, 512)


def test_the_tiny_policy_is_as_its_factory_makes_it(tmp_path: Path) -> None:
    built = find_geometry(str(build_tiny_policy(tmp_path / "policy")))
    known = find_geometry(TINY)
    assert built
    assert known
    assert (known.layers, known.hidden, known.kv_width) == (built.layers, built.hidden, built.kv_width)
    assert known.vision_parameters == built.vision_parameters
    assert known.max_tokens == built.max_tokens
    # The vocabulary follows from the texts of the day.
    assert known.parameters == pytest.approx(built.parameters, rel=0.05)


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"vision_config": {}}'])
def test_a_folder_of_something_else_has_no_geometry(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert find_geometry(str(tmp_path)) is None


@pytest.mark.parametrize(
    "path", ["nobody/no-such-model", "/no/such/folder", "Qwen/Qwen2.5-VL-1B", "two words"]
)
def test_unknown(path: str) -> None:
    assert find_geometry(path) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        None,
        "[" * 100_000,
        "{" + " " * 2**20 + "}",
        "[]",
        "9" * 5000,
        '{"text_config": 5}',
        '{"text_config": null}',
        '{"vision_config": []}',
        '{"vision_config": {"depth": "x"}}',
    ],
)
def test_a_configuration_of_another_shape_has_no_geometry(tmp_path: Path, text: str | None) -> None:
    """A checkpoint may come from anybody: its configuration may be a pipe, vast, deep, or of other values."""
    path = tmp_path / CONFIG_FILE
    if text is None:
        os.mkfifo(path)
    else:
        path.write_text(text)
    assert find_geometry(str(tmp_path)) is None


def test_sizes_that_are_no_numbers_are_no_geometry(tmp_path: Path) -> None:
    written = json.loads((build_tiny_policy(tmp_path / "policy") / CONFIG_FILE).read_text())
    for value in ("9", None, [], -1, 0, 1e999, True, 10**30):
        for key in written["text_config"]:
            changed = written | {"text_config": written["text_config"] | {key: value}}
            (tmp_path / CONFIG_FILE).write_text(json.dumps(changed))
            found = find_geometry(str(tmp_path))
            assert found is None or found.parameters > 0, (key, value)
