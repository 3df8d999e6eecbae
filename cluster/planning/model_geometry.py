"""How large a Qwen2.5-VL is, from its `config.json` alone: no weights, no torch, no network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import TINY
from data.limits import MAX_YAML_BYTES
from rewards.files import read_file

CONFIG_FILE = "config.json"

_TOWER = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "patch_size": 14}
_LARGE_TOWER = _TOWER | {"intermediate_size": 3456}


def _published(
    hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocab: int, tower: Any
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": 128_000,
        "tie_word_embeddings": hidden == 2048,
        "vision_config": tower | {"out_hidden_size": hidden},
    }


# Published configurations by the size in a checkpoint's name, so that a plan needs no download.
_BY_SIZE = {
    "3b": _published(2048, 11008, 36, 16, 2, 151_936, _TOWER),
    "7b": _published(3584, 18944, 28, 28, 4, 152_064, _TOWER),
    "32b": _published(5120, 27648, 64, 40, 8, 152_064, _LARGE_TOWER),
    "72b": _published(8192, 29568, 80, 64, 8, 152_064, _LARGE_TOWER),
}
# What `learner.tiny_policy` builds.
_TINY = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 704,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
    "vision_config": {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 192,
        "out_hidden_size": 128,
        "patch_size": 14,
    },
}


@dataclass(frozen=True)
class ModelGeometry:
    """Sizes that memory follows from.

    Attributes:
        parameters: All of them, vision tower included; tied ones counted once.
        vision_parameters: Those of the vision tower.
        layers: Of the language model.
        hidden: Width of the language model.
        intermediate: Width of its MLPs.
        kv_width: Key (or value) numbers that one token leaves in one layer's KV cache.
        vocabulary: Rows of the embedding.
        vision_layers: Of the vision tower.
        vision_hidden: Width of the vision tower.
        vision_intermediate: Width of its MLPs.
        max_tokens: Longest sequence the model's positions are made for.
    """

    parameters: int
    vision_parameters: int
    layers: int
    hidden: int
    intermediate: int
    kv_width: int
    vocabulary: int
    vision_layers: int
    vision_hidden: int
    vision_intermediate: int
    max_tokens: int


def find_geometry(path: str) -> ModelGeometry | None:
    """The geometry of `model.path`: built in, in a local folder, or in the Hub cache of this machine.

    Returns:
        None where none of these knows it.
    """
    if path == TINY:
        return geometry(_TINY)
    if Path(path).is_dir():
        return geometry(read_model_config(Path(path)) or {})
    size = re.search(r"qwen2\.5-vl-(\d+b)\b", path.lower())
    return geometry(_BY_SIZE[size[1]]) if size and size[1] in _BY_SIZE else _cached(path)


def read_model_config(folder: Path) -> dict[str, Any] | None:
    """A checkpoint's configuration; None where there is none, of at most 1 MiB, or it is not a JSON object."""
    try:
        config = json.loads(read_file(folder / CONFIG_FILE, MAX_YAML_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def geometry(config: Mapping[str, Any]) -> ModelGeometry | None:
    """The geometry of a Qwen2.5-VL configuration, as transformers 4 (flat) and 5 (nested) write it.

    Returns:
        None if a field is missing or no size: another architecture.
    """
    nested = {**config, **_mapping(config, "text_config")}
    text, tower = _sizes(nested), _sizes(_mapping(config, "vision_config"))
    try:
        vision = _vision_parameters(tower)
        language = _language_parameters(text, bool(nested.get("tie_word_embeddings")))
        return ModelGeometry(
            parameters=vision + language,
            vision_parameters=vision,
            layers=text["num_hidden_layers"],
            hidden=text["hidden_size"],
            intermediate=text["intermediate_size"],
            kv_width=_head_dim(text) * text["num_key_value_heads"],
            vocabulary=text["vocab_size"],
            vision_layers=tower["depth"],
            vision_hidden=tower["hidden_size"],
            vision_intermediate=tower["intermediate_size"],
            max_tokens=text["max_position_embeddings"],
        )
    except KeyError:
        return None


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _sizes(section: Mapping[str, Any]) -> dict[str, int]:
    return {key: value for key, value in section.items() if type(value) is int and 0 < value < 2**40}


def _language_parameters(text: Mapping[str, int], is_tied: bool) -> int:
    hidden, inner, vocabulary = text["hidden_size"], text["intermediate_size"], text["vocab_size"]
    queries, keys = (
        text["num_attention_heads"] * _head_dim(text),
        text["num_key_value_heads"] * _head_dim(text),
    )
    # Queries, keys and values have biases; the output projection and the MLP have none.
    attention = (hidden + 1) * (queries + 2 * keys) + queries * hidden
    layer = attention + 3 * hidden * inner + 2 * hidden
    embeddings = vocabulary * hidden * (1 if is_tied else 2)
    return int(embeddings + text["num_hidden_layers"] * layer + hidden)


def _vision_parameters(vision: Mapping[str, int]) -> int:
    hidden, inner = vision["hidden_size"], vision["intermediate_size"]
    channels = vision.get("in_channels", 3) * vision.get("temporal_patch_size", 2)
    merged = hidden * vision.get("spatial_merge_size", 2) ** 2
    attention = (hidden + 1) * 3 * hidden + (hidden + 1) * hidden
    block = attention + 2 * (hidden + 1) * inner + (inner + 1) * hidden + 2 * hidden
    merger = hidden + (merged + 1) * merged + (merged + 1) * vision["out_hidden_size"]
    return int(channels * vision["patch_size"] ** 2 * hidden + vision["depth"] * block + merger)


def _head_dim(text: Mapping[str, int]) -> int:
    return int(text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"])


def _cached(path: str) -> ModelGeometry | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(path, CONFIG_FILE)
    except HFValidationError:
        return None
    return geometry(read_model_config(Path(config).parent) or {}) if isinstance(config, str) else None
