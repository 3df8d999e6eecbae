"""The datasets that a configuration names, for `data.check`.

`cluster.config` reads configurations, and `data` may not import `cluster`: datasets are checked where neither Ray nor
an engine is installed. So this reads the few keys of the `data` section that name files, and judges no others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from data.readers import DatasetError, DatasetSpec

SYNTHETIC = "synthetic"
SOURCES = ("source", "eval_source")
LISTS = ("datasets", "eval_datasets")


def read_specs(path: Path) -> list[DatasetSpec]:
    """The datasets of a configuration, those to train on first; `extends` is followed.

    Raises:
        DatasetError: a file is not there or not YAML, or an entry lacks a key.
    """
    data = _data_section(path, ())
    sources = [
        DatasetSpec(key, "jsonl", Path(_expanded(str(data[key]), path)))
        for key in SOURCES
        if data.get(key, SYNTHETIC) != SYNTHETIC
    ]
    return [*sources, *(_spec(entry, path) for key in LISTS for entry in data.get(key) or ())]


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


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected sections, found {type(content).__name__}")
    return content


def _spec(entry: Any, path: Path) -> DatasetSpec:
    if not isinstance(entry, Mapping) or not {"name", "format", "annotations"} <= entry.keys():
        raise DatasetError(f"{path}: a dataset needs name, format and annotations, found {entry!r:.80}")
    videos = entry.get("videos")
    return DatasetSpec(
        name=str(entry["name"]),
        format=str(entry["format"]),
        annotations=Path(_expanded(str(entry["annotations"]), path)),
        videos=Path(_expanded(str(videos), path)) if videos else None,
        options=dict(_options(entry.get("options") or {}, path)),
    )


def _options(options: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    return ((str(key), _expanded(str(value), path)) for key, value in options.items())


def _expanded(text: str, path: Path) -> str:
    """A path with environment variables put in, `${CHARADES}/train.txt`."""
    found = os.path.expandvars(text)
    if "$" in found:
        raise DatasetError(f"{path}: {text}: the environment does not have this variable")
    return found
