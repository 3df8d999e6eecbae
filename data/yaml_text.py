"""YAML as configurations are written in it.

YAML 1.2 scalars, because PyYAML's 1.1 reads `1e-6` as text, `off` as false and `1:30` as a number.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from data.limits import MAX_YAML_VALUES

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

    def get_single_node(self) -> yaml.Node | None:
        """As YAML has it, but neither endless nor vast: an alias may stand within what it names, or for a million."""
        try:
            node = super().get_single_node()
            _count(node, {})
        except RecursionError:
            raise yaml.YAMLError("nested too deeply") from None
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML has it, but `{steps:5}` is a mistake: without the blank it is a key of that name without a value."""
        for key, value in node.value:
            unquoted = isinstance(key, yaml.ScalarNode) and key.style is None
            if unquoted and _GLUED.fullmatch(key.value) and value.value == "":
                name, _, rest = key.value.partition(":")
                problem = f"`{key.value}` needs a space after the colon, `{name}: {rest}`"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def _count(node: yaml.Node | None, counts: dict[int, int]) -> int:
    """How many values a node holds, each alias counted as what it names. `counts` are those of nodes seen before.

    Raises:
        yaml.YAMLError: more than `MAX_YAML_VALUES`.
        RecursionError: a node within itself.
    """
    if id(node) not in counts:
        inner = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = [part for item in inner for part in (item if isinstance(item, tuple) else (item,))]
        counts[id(node)] = 1 + sum(_count(part, counts) for part in parts)
        if counts[id(node)] > MAX_YAML_VALUES:
            raise yaml.YAMLError(f"more than {MAX_YAML_VALUES:,} values, aliases counted as what they name")
    return counts[id(node)]


def _whole_number(loader: Loader, node: yaml.ScalarNode) -> int:
    """PyYAML's own takes a leading 0 for octal."""
    return int(loader.construct_scalar(node))


for _tag, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def read_value(text: str) -> Any:
    """The value of one YAML text, as an override gives it.

    Raises:
        yaml.YAMLError: the text is not YAML, or larger or deeper than `data.limits` allows.
        ValueError: a number that is none: `1_`.
    """
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


def yaml_reason(error: Exception) -> str:
    """Why a text could not be read as YAML, with line and column where they are known."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem
