"""Reads YAML files into plain values, remembering the line every key came from.

YAML 1.2 scalars, because PyYAML's 1.1 reads `1e-6` as text, `off` as false and `1:30` as a number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from cluster.errors import ConfigError

EXTENDS = "extends"

_GLUED = re.compile(r"\w+:.+")
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", list("-+.0123456789")),
}


class Loader(yaml.SafeLoader):
    """A safe loader whose plain scalars are null, true, false, numbers or text, and nothing else."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML has it, but `{steps:5}` is a mistake: without the blank it is a key of that name without a value."""
        for key, value in node.value:
            unquoted = isinstance(key, yaml.ScalarNode) and key.style is None
            if unquoted and _GLUED.fullmatch(key.value) and value.value == "":
                name, _, rest = key.value.partition(":")
                problem = f"`{key.value}` needs a space after the colon, `{name}: {rest}`"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def _whole_number(loader: Loader, node: yaml.ScalarNode) -> int:
    """PyYAML's own takes a leading 0 for octal."""
    return int(loader.construct_scalar(node))


for _tag, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


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


def read_value(text: str) -> Any:
    """The value of one YAML text, as an override gives it.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


def read_document(path: Path) -> Document:
    """Read one file.

    Raises:
        ConfigError: the file is missing, is not YAML, or is not a mapping.
    """
    text = _text_of(path)
    try:
        node = yaml.compose(text, Loader)
        values = read_value(text)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {_reason(error)}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections (`run:`, `model:`, ...), found {_kind(values)}")
    document = Document(path, values)
    _note_lines(node, "", document)
    base = values.pop(EXTENDS, None)
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"{document.place(EXTENDS)}: extends = {base!r}: must be the path of one YAML file")
    document.extends = path.parent / base if base else None
    return document


def read_chain(path: Path) -> list[Document]:
    """A file and all it extends, the furthest base first.

    Raises:
        ConfigError: a file cannot be read, or the chain comes back to a file it has passed.
    """
    chain: list[Document] = []
    seen: list[Path] = []
    following: Path | None = path
    while following is not None:
        if following.resolve() in seen:
            names = " -> ".join(str(document.path) for document in chain)
            raise ConfigError(f"extends goes in a circle: {names} -> {following}")
        if chain and not following.is_file():
            raise ConfigError(f"{chain[-1].place(EXTENDS)}: extends = {following}: there is no such file")
        seen.append(following.resolve())
        chain.append(read_document(following))
        following = chain[-1].extends
    return chain[::-1]


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file")
    try:
        return path.read_text(encoding="utf-8")
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


def _reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem


def _kind(value: Any) -> str:
    return "an empty file" if value is None else f"a {type(value).__name__}"
