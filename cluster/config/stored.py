"""The configuration that a run's folder keeps, and what of it may change when the run is resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.config.fields import all_fields, shown
from cluster.config.loading import load_config, to_yaml
from cluster.errors import ConfigError
from data.limits import MAX_YAML_BYTES
from data.yaml_text import read_value
from rewards.files import read_file

CONFIG_FILE = "config.yaml"

# Where, how fast and how long a run goes. Everything else decides what is trained or evaluated, and so does every
# field that is not named here yet. The learner's ranks and ZeRO stage lay out its checkpoints.
FREE_SECTIONS = {"sync", "checkpoint", "logging", "ray"}
FREE_FIELDS = {
    "run": {"name", "output_dir"},
    "data": {"num_loaders", "cpus_per_loader", "decode_timeout_s", "cache_gib", "prefetch"},
    "rollout": {
        *("num_workers", "tensor_parallel_size", "gpus_per_worker", "cpus_per_worker", "threads_per_worker"),
        *("max_concurrent", "gpu_memory_utilization", "kv_cache_gib", "start_timeout_s", "request_timeout_s"),
    },
    "reward": {"num_workers", "cpus_per_worker", "timeout_s"},
    "judge": {
        *("base_url", "api_key_variable", "concurrency", "requests_per_minute", "max_requests"),
        *("timeout_s", "cache"),
    },
    "learner": {
        *("gpus_per_worker", "cpus_per_worker", "threads_per_worker", "start_timeout_s", "step_timeout_s"),
        *("micro_batch_tokens", "gradient_checkpointing"),
    },
    "grpo": {"steps", "mismatch_bound"},
}


def write_config(config: RunConfig) -> None:
    """Write `config.yaml` into the run's folder, in one rename.

    Raises:
        OSError: the folder is not there or cannot be written.
    """
    path = config.run_dir / CONFIG_FILE
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(to_yaml(config), encoding="utf-8")
    os.replace(temporary, path)


def stored_text(path: Path) -> str:
    """The text of a configuration that a run kept. Raises `OSError` or `UnicodeDecodeError` where it is none."""
    return read_file(path, MAX_YAML_BYTES).decode()


def read_stored(path: Path) -> RunConfig:
    """The configuration that a run kept, to be looked at, not run: settings that are no more are left out.

    Raises:
        ConfigError: the file is not a configuration.
        OSError: it cannot be read.
    """
    try:
        stored = read_value(stored_text(path))
        known = {
            section: {name: value for name, value in its.items() if f"{section}.{name}" in all_fields()}
            for section, its in stored.items()
        }
        # As JSON, which knows no tuples and no names of tasks either.
        return RunConfig.model_validate_json(json.dumps({name: its for name, its in known.items() if its}))
    except (yaml.YAMLError, AttributeError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(f"{path} is not a configuration that this version can read: {error}") from error


def check_resumable(config: RunConfig) -> None:
    """Refuse to go on with a run under a configuration that would make it another one.

    Raises:
        ConfigError: fields differ that change what is trained or evaluated, all of them listed; or the stored
            configuration cannot be read.
    """
    path = config.run_dir / CONFIG_FILE
    changes = [f"  - {change}" for change in _changes(load_config(path), config)]
    if changes:
        first = f"{config.run_dir} was begun with another configuration. These decide what is trained or evaluated:"
        last = f"Resume with the values in {path}, or start a new run without --resume."
        raise ConfigError("\n".join([first, *changes, last]))


def _changes(stored: RunConfig, config: RunConfig) -> Iterator[str]:
    """`grpo.kl_coef: 0.0 -> 0.04` for every field that must stay as it was and did not."""
    old, new = binding_values(stored), binding_values(config)
    for key in [*new, *(key for key in old if key not in new)]:
        if old.get(key) != new.get(key):
            yield f"{key}: {shown(old.get(key))} -> {shown(new.get(key))}"


def is_free(key: str) -> bool:
    """Whether a field says only where, how fast or how long a run goes."""
    section, name = key.split(".")
    return section in FREE_SECTIONS or name in FREE_FIELDS.get(section, ())


def binding_values(config: RunConfig) -> dict[str, Any]:
    """What decides what is trained or evaluated, by dotted key; fields of list entries each by their own."""
    values = config.model_dump(mode="json")
    found: dict[str, Any] = {}
    for key, field in all_fields().items():
        if is_free(key):
            continue
        section, name = key.split(".")
        value = values[section][name]
        if field.entries:
            entries = enumerate(value)
            found |= {f"{key}[{i}].{each}": its for i, entry in entries for each, its in entry.items()}
        else:
            found[key] = value
    return found
