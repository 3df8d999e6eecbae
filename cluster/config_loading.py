"""From YAML files and command-line overrides to a checked `RunConfig`, or one message with every mistake."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.config_checks import contradictions
from cluster.config_fields import all_fields, choices, nearest, sections
from cluster.config_problems import Origins, Problem, config_error, problem_lines
from cluster.config_yaml import Document, read_chain, read_value
from cluster.errors import ConfigError

COMMAND_LINE = "command line"


@dataclass
class LoadedConfig:
    """A configuration with its mistakes.

    Attributes:
        source: The file it was read from.
        config: The configuration; a value that cannot be used stands at its default.
        problems: The mistakes found so far.
        unusable: Keys whose value is not the one that was meant.
    """

    source: str
    config: RunConfig
    problems: list[Problem] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    unusable: set[str] = field(default_factory=set)

    def add(self, problems: Iterable[Problem]) -> None:
        """Add further mistakes, but for those that only follow from a value that was given wrongly."""
        self.problems += [p for p in problems if not self.unusable.intersection(p.keys)]

    def error(self, problems: Sequence[Problem]) -> ConfigError:
        """All of these mistakes in one error."""
        return config_error(self.source, problems, self.origins, _defaults())

    def lines(self, problems: Sequence[Problem]) -> list[str]:
        """A line of text for each of these mistakes."""
        return problem_lines(problems, self.origins, _defaults())


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration.

    Args:
        path: A YAML file; `extends:` names another that it builds on, relative to its own folder.
        overrides: `section.field=value`, the value in YAML.

    Raises:
        ConfigError: anything is wrong with it; the message lists every mistake with its place.
    """
    loaded = read_config(path, overrides)
    if loaded.problems:
        raise loaded.error(loaded.problems)
    return loaded.config


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Read a configuration and collect its mistakes.

    Raises:
        ConfigError: a file cannot be read at all.
    """
    merge = _Merge()
    for document in read_chain(Path(path)):
        merge.add_document(document)
    for override in overrides:
        merge.add_override(override)
    config, problems = _validate(merge.values)
    unusable = merge.meant.union(*(problem.keys for problem in problems))
    loaded = LoadedConfig(str(path), config, [*merge.problems, *problems], merge.origins, unusable)
    loaded.add(contradictions(config))
    return loaded


def to_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Merge:
    """Values laid over each other in order: a later field replaces an earlier one, whole."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.origins = Origins()
        self.problems: list[Problem] = []
        self.meant: set[str] = set()

    def add_document(self, document: Document) -> None:
        for key, line in document.duplicates:
            self.problems.append(Problem((), f"{document.path}:{line}: {key} is given twice in this file"))
        for section, content in document.values.items():
            self._add_section(str(section), content, document.place(str(section)), document)

    def add_override(self, override: str) -> None:
        key, equals, text = override.partition("=")
        if not equals or not key:
            self.problems.append(Problem((), f"{override!r} ({COMMAND_LINE}): expected section.field=value"))
            return
        try:
            value = read_value(text)
        except (yaml.YAMLError, ValueError) as error:
            reason = getattr(error, "problem", None) or error
            self.problems.append(
                Problem((), f"{override!r} ({COMMAND_LINE}): the value is not YAML: {reason}")
            )
            return
        section, dot, name = key.partition(".")
        if dot:
            self._set(section, name, value, COMMAND_LINE)
        else:
            self._add_section(section, value, COMMAND_LINE)

    def _add_section(self, section: str, content: Any, place: str, document: Document | None = None) -> None:
        if section not in sections():
            return self._unknown(section, place, content)
        if content is not None and not isinstance(content, dict):
            self.origins.note(section, place, content)
            self.problems.append(
                Problem((section,), f"is a section; give its fields: {choices(section + '.')}")
            )
            return None
        for name, value in (content or {}).items():
            self._set(section, str(name), value, document.place(f"{section}.{name}") if document else place)
        return None

    def _set(self, section: str, name: str, value: Any, place: str) -> None:
        field_name, dot, entry = name.partition(".")
        known = all_fields().get(f"{section}.{field_name}")
        if known is None or (dot and entry not in known.names):
            return self._unknown(f"{section}.{name}", place, value)
        fields = self.values.setdefault(section, {})
        if dot:
            before = fields.get(field_name, known.default)
            value = {**(before if isinstance(before, dict) else {}), entry: value}
        fields[field_name] = value
        self.origins.note(known.key, place, value)
        return None

    def _unknown(self, key: str, place: str, value: Any) -> None:
        self.origins.note(key, place, value)
        meant = nearest(key)
        self.meant.update([meant] if meant else [])
        hint = f"did you mean {meant}?" if meant else f"valid here: {choices(key)}"
        self.problems.append(Problem((key,), f"there is no such key; {hint}"))


def _validate(values: dict[str, dict[str, Any]]) -> tuple[RunConfig, list[Problem]]:
    """The configuration of these values, and what is wrong with each that was left at its default instead."""
    problems: list[Problem] = []
    try:
        return _parse(values), problems
    except ValidationError as error:
        problems = list(_type_problems(error))
    wrong = {key for problem in problems for key in problem.keys}
    usable = {
        section: {name: value for name, value in fields.items() if f"{section}.{name}" not in wrong}
        for section, fields in values.items()
    }
    return _parse(usable), problems


def _parse(values: dict[str, dict[str, Any]]) -> RunConfig:
    # JSON's strict mode keeps text, numbers and booleans apart, and still takes a list for a pair.
    return RunConfig.model_validate_json(json.dumps(values, default=str))


def _type_problems(error: ValidationError) -> Iterator[Problem]:
    seen: set[str] = set()
    for detail in error.errors():
        section, name, *inside = (str(part) for part in detail["loc"])
        key = f"{section}.{name}"
        if key in seen:
            continue
        seen.add(key)
        entry = inside[0] if inside and all_fields()[key].names else None
        meant = nearest(f"{key}.{entry}") if entry and entry not in all_fields()[key].names else None
        hint = f"; did you mean {meant}?" if meant else ""
        yield Problem((key,), f"expected {all_fields()[key].allowed}{hint}")


def _defaults() -> dict[str, Any]:
    return {key: field.default for key, field in all_fields().items()}
