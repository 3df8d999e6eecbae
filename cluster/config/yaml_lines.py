"""Reads YAML files into plain values, remembering the line every key came from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import ConfigError
from data.limits import MAX_YAML_BYTES
from data.yaml_text import read_tree, yaml_reason
from rewards.files import read_file

EXTENDS = "extends"


@dataclass
class Document:
    """One YAML file.

    Attributes:
        values: The mapping as read, `extends` left out.
        lines: Line of each key, by dotted path (`rollout.group_size`, `data.datasets[0].weight`).
        duplicates: Dotted path and line of each key that stands twice in one mapping.
        extends: The file this one builds on, resolved against its own folder.
    """

    path: Path
    values: dict[str, Any]
    lines: dict[str, int] = field(default_factory=dict)
    duplicates: list[tuple[str, int]] = field(default_factory=list)
    extends: Path | None = None

    def place(self, key: str) -> str:
        """`file:line` of a key."""
        line = self.lines.get(key)
        return f"{self.path}:{line}" if line else str(self.path)


def read_document(path: Path) -> Document:
    """Read one file.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping.
    """
    text = _text_of(path)
    try:
        node, values = read_tree(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not readable as YAML: {yaml_reason(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections (`run:`, `model:`, ...), found {_kind(values)}")
    document = Document(path, values)
    _note_lines(node, "", document)
    base = values.pop(EXTENDS, None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{document.place(EXTENDS)}: extends = {base!r}: must be the path of one YAML file")
    document.extends = path.parent / os.path.expanduser(base) if base else None
    return document


def read_chain(path: Path) -> list[Document]:
    """A file and all it extends, the furthest base first.

    Raises:
        ConfigError: a file cannot be read, or the chain comes back to a file it has passed.
    """
    chain: list[Document] = []
    seen: list[Path] = []
    # Path.expanduser raises for a user that there is not.
    following: Path | None = Path(os.path.expanduser(path))
    while following is not None:
        if following.resolve() in seen:
            names = " -> ".join(str(document.path) for document in chain)
            raise ConfigError(f"extends goes in a circle: {names} -> {following}")
        if chain and not os.path.isfile(following):
            raise ConfigError(f"{chain[-1].place(EXTENDS)}: extends = {following}: there is no such file")
        seen.append(following.resolve())
        chain.append(read_document(following))
        following = chain[-1].extends
    return chain[::-1]


def _text_of(path: Path) -> str:
    if os.path.isdir(path):
        raise ConfigError(f"{path}: is a folder, where a file is wanted")
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise ConfigError(f"{path}: there is no such file")
    try:
        return read_file(path, MAX_YAML_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def _note_lines(node: yaml.Node | None, prefix: str, document: Document) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            path = f"{prefix.removesuffix('.')}[{index}]"
            document.lines[path] = item.start_mark.line + 1
            _note_lines(item, f"{path}.", document)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        line = key.start_mark.line + 1
        if path in document.lines:
            document.duplicates.append((path, line))
        document.lines[path] = line
        _note_lines(value, f"{path}.", document)


def _kind(value: Any) -> str:
    return "an empty file" if value is None else f"a {type(value).__name__}"
