"""Checkpoints that are whole or not there: written to a temporary name, sealed with a manifest, renamed.

A run's checkpoint folder holds `step-00000010/` (DeepSpeed's files, `client_state.json`, `manifest.json`) and
`latest`, the name of the newest one. `latest` is for people and other tools; resuming looks at the folders
themselves, so that neither a lost pointer nor a torn checkpoint misleads it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewards.files import MAX_FILE_BYTES, read_file

MANIFEST = "manifest.json"
CLIENT_STATE = "client_state.json"
LATEST = "latest"
PREFIX = "step-"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says which and why."""


def unfinished_name(step: int) -> str:
    """Name of the folder a checkpoint is written under."""
    return f".{PREFIX}{step:08d}.unfinished"


def seal(
    folder: Path, step: int, client_state: Mapping[str, Any], layout: Mapping[str, int], keep: int
) -> Path:
    """Turn the files written under `unfinished_name(step)` into a checkpoint and drop the oldest ones.

    Called by one rank once all have written.

    Args:
        folder: The run's checkpoint folder.
        client_state: What the training loop wants back on resuming; must be JSON.
        layout: How the files are partitioned (ranks and ZeRO stage); resuming requires the same.
        keep: Number of checkpoints to keep.

    Returns:
        The checkpoint.
    """
    unfinished, final = folder / unfinished_name(step), folder / f"{PREFIX}{step:08d}"
    (unfinished / CLIENT_STATE).write_text(json.dumps(client_state, indent=2), encoding="utf-8")
    manifest = {"step": step, "layout": dict(layout), "bytes": dict(_sizes(unfinished))}
    _write_durably(unfinished / MANIFEST, json.dumps(manifest, indent=2))
    shutil.rmtree(final, ignore_errors=True)
    unfinished.rename(final)
    _write_durably(folder / LATEST, final.name)
    for old in _candidates(folder)[keep:]:
        shutil.rmtree(old)
    return final


def newest_complete(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole, and one message per newer one that is not."""
    problems: list[str] = []
    for candidate in _candidates(folder):
        problem = damage(candidate)
        if problem is None:
            return candidate, problems
        problems.append(f"skipped checkpoint {candidate}: {problem}")
    return None, problems


def damage(checkpoint: Path) -> str | None:
    """What a checkpoint lacks compared with its manifest, or None; it may hold whatever somebody put there."""
    if not (checkpoint / MANIFEST).exists():
        return f"no {MANIFEST}"
    try:
        expected = _counts(_mapping(checkpoint / MANIFEST), "bytes")
        _counts(_mapping(checkpoint / MANIFEST), "layout")
        found = dict(_sizes(checkpoint))
        wrong = [name for name, size in expected.items() if found.get(name) != size]
        if not wrong:
            read_client_state(checkpoint)
    except CheckpointError as error:
        return str(error)
    return f"{wrong[0]} has {found.get(wrong[0], 0)} of {expected[wrong[0]]} bytes" if wrong else None


def check_layout(checkpoint: Path, layout: Mapping[str, int]) -> None:
    """Refuse a checkpoint that other ranks wrote: DeepSpeed's optimizer state is partitioned over them.

    Raises:
        CheckpointError: the layout differs, or the manifest has none.
    """
    written = _counts(_mapping(checkpoint / MANIFEST), "layout")
    differing = [
        f"{key} was {written.get(key)}, is {value}"
        for key, value in layout.items()
        if written.get(key) != value
    ]
    if differing:
        raise CheckpointError(
            f"{checkpoint} was written by another learner: {'; '.join(differing)}. Resume with the same."
        )


def read_client_state(checkpoint: Path) -> dict[str, Any]:
    """What the training loop stored with the checkpoint.

    Raises:
        CheckpointError: the file is not there, or is no mapping in JSON.
    """
    return _mapping(checkpoint / CLIENT_STATE)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_file(path, MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        # The text of the error may quote the file, and its line break.
        raise CheckpointError(f"{path.name} is unreadable ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}, not a mapping")
    return content


def _counts(manifest: Mapping[str, Any], key: str) -> dict[str, int]:
    """A mapping of the manifest from names to whole numbers."""
    counts = manifest.get(key)
    # Not `isinstance`: true is a whole number to Python.
    if not isinstance(counts, dict) or not all(type(count) is int for count in counts.values()):
        raise CheckpointError(f"{MANIFEST} has no {key!r} of whole numbers by name")
    return counts


def _candidates(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    return sorted(folder.glob(f"{PREFIX}*"), reverse=True)


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield str(path.relative_to(folder)), path.stat().st_size


def _write_durably(path: Path, text: str) -> None:
    """Replace a small file; after a power cut it holds the old text or the new."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
