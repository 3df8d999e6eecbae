"""`settings.json`: what the figures in a folder depend on, kept beside them so that others are not mixed in."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.config.fields import all_fields, shown
from cluster.config.stored import is_free
from cluster.errors import ConfigError

SETTINGS_FILE = "settings.json"


def chosen_settings(config: RunConfig, sections: Collection[str], fields: Collection[str]) -> dict[str, Any]:
    """Values by dotted key: of these fields, and of everything in these sections but where and how fast things run."""
    values = config.model_dump(mode="json")
    keys = (
        key for key in all_fields() if key in fields or (key.split(".")[0] in sections and not is_free(key))
    )
    return {key: values[key.split(".")[0]][key.split(".")[1]] for key in keys}


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings.json`."""
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What `write_settings` wrote, or None if it never did.

    Raises:
        ConfigError: the file is not what was written.
        OSError: it cannot be read.
    """
    path = folder / SETTINGS_FILE
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged: {error}. Give this another run.name.") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is damaged: it holds no mapping. Give this another run.name.")
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """`rollout.temperature: 1.0 -> 0.7` for every setting that is not the same."""
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield f"{key}: {shown(before.get(key))} -> {shown(now.get(key))}"
