"""YAML as configurations are written in it.

YAML 1.2 scalars, because PyYAML's 1.1 reads `1e-6` as text, `off` as false and `1:30` as a number.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

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


def read_value(text: str) -> Any:
    """The value of one YAML text, as an override gives it.

    Raises:
        yaml.YAMLError: the text is not YAML.
        ValueError: a number that is none: `1_`.
    """
    return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader


def yaml_reason(error: Exception) -> str:
    """Why a text could not be read as YAML, with line and column where they are known."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem
