"""The datasets that a configuration names, for `data.check`.

`cluster.config` reads configurations, and `data` may not import `cluster`: datasets are checked where neither Ray nor
an engine is installed. So this reads the few keys of the `data` section that name files, and judges no others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from data.limits import MAX_YAML_BYTES, reason_of
from data.readers import DatasetError, DatasetSpec
from data.yaml_text import read_value, yaml_reason
from rewards.files import read_file

SYNTHETIC = "synthetic"
SOURCES = ("source", "eval_source")
LISTS = ("datasets", "eval_datasets")
_IN_ENTRY = re.compile(r"(\w+)\[(\d+)\]\.(\w+)")


def read_specs(path: Path, overrides: Sequence[str] = ()) -> list[DatasetSpec]:
    """The datasets of a configuration, those to train on first; `extends` is followed.

    Args:
        overrides: `section.field=value` over what the file says; those of other sections than `data` name no file.

    Raises:
        DatasetError: a file is not there or not YAML, what should be a list of datasets is none, an entry lacks a key,
            or an override cannot be read.
    """
    data = _data_section(path, ())
    for override in overrides:
        _override(data, override)
    sources = [
        DatasetSpec.of_texts(key, "jsonl", str(data[key]))
        for key in SOURCES
        if data.get(key, SYNTHETIC) != SYNTHETIC
    ]
    return [*sources, *(_spec(entry, path) for key in LISTS for entry in _entries(data, key, path))]


def _data_section(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The `data` section, that of the file it extends below its own."""
    if path.resolve() in seen:
        raise DatasetError(f"{path}: extends goes in a circle")
    content = _load(path)
    base = content.get("extends")
    below = _data_section(path.parent / str(base), (*seen, path.resolve())) if base else {}
    own = content.get("data") or {}
    if not isinstance(own, dict):
        raise DatasetError(f"{path}: data must be a section, found {type(own).__name__}")
    return {**below, **own}


def _override(data: dict[str, Any], override: str) -> None:
    """Lay `data.field=value` or `data.datasets[0].field=value`, the value in YAML, over a `data` section."""
    key, equals, text = override.partition("=")
    section, dot, name = key.partition(".")
    if not equals or not dot:
        raise DatasetError(f"{override}: expected section.field=value")
    if section != "data":
        return
    try:
        value = read_value(text)
    except yaml.YAMLError as error:
        raise DatasetError(f"{override}: the value is not YAML: {yaml_reason(error)}") from error
    in_entry = _IN_ENTRY.fullmatch(name)
    if in_entry is None:
        data[name] = value
        return
    entries, place = data.get(in_entry[1]), int(in_entry[2])
    if not isinstance(entries, list) or place >= len(entries) or not isinstance(entries[place], dict):
        raise DatasetError(f"{override}: there is no entry data.{in_entry[1]}[{place}]")
    entries[place][in_entry[3]] = value


def _load(path: Path) -> dict[str, Any]:
    try:
        content = read_value(read_file(path, MAX_YAML_BYTES).decode())
    except OSError as error:
        raise DatasetError(reason_of(error)) from error
    # ValueError: not UTF-8.
    except (ValueError, yaml.YAMLError) as error:
        raise DatasetError(f"{path}: cannot be read: {yaml_reason(error)}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected sections, found {type(content).__name__}")
    return content


def _entries(data: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    entries = data.get(key, [])
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: data.{key} must be a list of datasets, found {entries!r:.80}")
    return entries


def _spec(entry: Any, path: Path) -> DatasetSpec:
    if not isinstance(entry, Mapping) or not {"name", "format", "annotations"} <= entry.keys():
        raise DatasetError(f"{path}: a dataset needs name, format and annotations, found {entry!r:.80}")
    name, format_, annotations = (str(entry[key]) for key in ("name", "format", "annotations"))
    videos, options = entry.get("videos"), entry.get("options", {})
    if not isinstance(options, Mapping):
        raise DatasetError(f"{path}: options of {name} must be names with values, found {options!r:.80}")
    return DatasetSpec.of_texts(
        name,
        format_,
        annotations,
        str(videos) if videos else None,
        {str(key): str(value) for key, value in options.items()},
    )
