"""YAML as configurations are written in it.

YAML 1.2 scalars, because PyYAML's 1.1 reads `1e-6` as text, `off` as false and `1:30` as a number. Whatever the text,
it is read within a second or two, or refused with its place: what it may hold and how much is bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

# A configuration has a few hundred nodes, its repetitions by aliases included, and some six levels.
MOST_CHARACTERS = 2**18
MOST_NODES = 10_000
MOST_LEVELS = 50
LARGEST = 2**63 - 1

# Tags that change nothing: the others make dates, bytes, sets or objects, which no field takes.
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}
# Half of a character, and what no file name or variable can hold.
_NO_TEXT = re.compile("[\ud800-\udfff\0]")
_GLUED = re.compile(r"\w+:.+")
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*", list("-+0123456789")),
    "float": (r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", list("-+.0123456789")),
}


@dataclass
class _Anchored:
    """What an alias repeats: so many nodes on so many levels; not known before its end."""

    nodes: int = 0
    levels: int = 0
    is_whole: bool = False


class Loader(yaml.SafeLoader):
    """A safe loader whose plain scalars are null, true, false, numbers or text, and nothing else."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # type: ignore[misc]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = self._level = self._deepest = 0
        self._anchored: dict[str, _Anchored] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node, if it and what it repeats are within bounds."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            self._repeat(event)
            return super().compose_node(parent, index)
        if event.tag not in _TAGS:
            raise _mistake(
                f"the tag {event.tag!r} is not taken; write the value without it", event.start_mark
            )
        self._level += 1
        self._count(1, self._level, event.start_mark)
        before, deepest, self._deepest = self._nodes, self._deepest, self._level
        anchored = _Anchored()
        if event.anchor is not None:
            self._anchored[event.anchor] = anchored
        node = super().compose_node(parent, index)
        anchored.nodes, anchored.is_whole = self._nodes - before + 1, True
        anchored.levels = self._deepest - self._level + 1
        self._deepest, self._level = max(deepest, self._deepest), self._level - 1
        return node

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """A bracket, before what is in it is looked at: PyYAML looks through all that are open at each."""
        if self.flow_level >= MOST_LEVELS:
            raise _mistake(f"nested deeper than {MOST_LEVELS} levels", self.get_mark())
        super().fetch_flow_collection_start(token)

    def _repeat(self, event: yaml.AliasEvent) -> None:
        anchored = self._anchored.get(event.anchor or "", _Anchored(is_whole=True))
        if not anchored.is_whole:
            raise _mistake(f"`*{event.anchor}` stands inside of what it repeats", event.start_mark)
        self._count(anchored.nodes, self._level + anchored.levels, event.start_mark)

    def _count(self, nodes: int, level: int, mark: Any) -> None:
        self._nodes += nodes
        self._deepest = max(self._deepest, level)
        if self._nodes > MOST_NODES:
            raise _mistake(f"more than {MOST_NODES:,} values, repeated ones counted each time", mark)
        if level > MOST_LEVELS:
            raise _mistake(f"nested deeper than {MOST_LEVELS} levels", mark)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Text of whole characters."""
        value = super().construct_scalar(node)
        if found := _NO_TEXT.search(value):
            raise _mistake(f"the character U+{ord(found[0]):04X} cannot be used", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As YAML has it, but `{steps:5}` is a mistake: without the blank it is a key of that name without a value."""
        for key, value in node.value:
            unquoted = isinstance(key, yaml.ScalarNode) and key.style is None
            if unquoted and key.value == "<<":
                raise _mistake("YAML 1.2 has no merge key; write the fields out", key.start_mark)
            if unquoted and _GLUED.fullmatch(key.value) and value.value == "":
                name, _, rest = key.value.partition(":")
                problem = f"`{key.value}` needs a space after the colon, `{name}: {rest}`"
                raise _mistake(problem, key.start_mark)
        return super().construct_mapping(node, deep)


def _mistake(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _whole_number(loader: Loader, node: yaml.ScalarNode) -> int:
    """PyYAML's own takes a leading 0 for octal."""
    text = loader.construct_scalar(node)
    try:
        value = int(text)
    except ValueError as error:
        reason = f"a number of {len(text)} digits" if text.lstrip("+-").isdecimal() else str(error)
        raise _mistake(reason, node.start_mark) from error
    if abs(value) > LARGEST:
        raise _mistake(f"a number of {len(text)} digits; the largest is {LARGEST}", node.start_mark)
    return value


def _number(loader: Loader, node: yaml.ScalarNode) -> float:
    try:
        return loader.construct_yaml_float(node)
    except ValueError as error:
        raise _mistake(str(error), node.start_mark) from error


for _tag, (_pattern, _first) in _SCALARS.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
Loader.add_constructor("tag:yaml.org,2002:float", _number)


def read_value(text: str) -> Any:
    """The value of one YAML text, as an override gives it.

    Raises:
        yaml.YAMLError: the text is not YAML, or holds what a configuration cannot.
    """
    return read_tree(text)[1]


def read_tree(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of one YAML text, which know their lines, and its value. Raises as `read_value` does."""
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f"{len(text):,} characters; a configuration has at most {MOST_CHARACTERS:,}")
    try:
        loader = Loader(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        mark = yaml.Mark(
            "", error.position, before.count("\n"), error.position - before.rfind("\n") - 1, None, 0
        )
        raise _mistake(f"the character U+{error.character:04X} cannot be used", mark) from error
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except (ValueError, OverflowError) as error:
        # What PyYAML does not foresee: an escape in a text of a character that there is not.
        raise _mistake(str(error), loader.get_mark()) from error
    finally:
        loader.dispose()


def yaml_reason(error: Exception) -> str:
    """Why a text could not be read as YAML, with line and column where they are known."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark else problem
