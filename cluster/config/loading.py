"""From YAML files and command-line overrides to a checked `RunConfig`, or one message with every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cluster.config import RunConfig
from cluster.config.checks import contradictions
from cluster.config.fields import ConfigField, all_fields, list_of, nearest
from cluster.config.merge import Merge
from cluster.config.problems import Origins, Problem, config_error, problem_lines
from cluster.config.yaml_lines import read_chain
from cluster.errors import ConfigError


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


Change = Callable[[RunConfig], RunConfig]


def as_it_is(config: RunConfig) -> RunConfig:
    """No change."""
    return config


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    change: Change = as_it_is,
    useless: Collection[str] = (),
) -> RunConfig:
    """Read a configuration.

    Args:
        path: A YAML file; `extends:` names another that it builds on, relative to its own folder.
        overrides: `section.field=value`, the value in YAML.
        change: Makes it that of a command which does less than a run: only what is left of it must go together.
        useless: Sections and keys that the command has no use for, so that they need not go together with others.

    Raises:
        ConfigError: anything is wrong with it; the message lists every mistake with its place.
    """
    loaded = read_config(path, overrides, change, useless)
    if loaded.problems:
        raise loaded.error(loaded.problems)
    return loaded.config


def read_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    change: Change = as_it_is,
    useless: Collection[str] = (),
) -> LoadedConfig:
    """Read a configuration and collect its mistakes; arguments as for `load_config`.

    Raises:
        ConfigError: a file cannot be read at all.
    """
    merge = Merge()
    for document in read_chain(Path(path)):
        merge.add_document(document)
    for override in overrides:
        merge.add_override(override)
    given, problems = _validate(merge.values, merge.meant)
    config = change(given)
    unusable = merge.meant.union(*(problem.keys for problem in problems))
    unusable |= {list_of(key) for key in unusable}
    loaded = LoadedConfig(str(path), config, [*merge.problems, *problems], merge.origins, unusable)
    # What the change has mended is no mistake any more, and what it brought about is not the user's.
    left = [problem for problem in contradictions(config) if not _are_any_of(problem.keys, useless)]
    loaded.add(problem for problem in contradictions(given) if problem in left)
    return loaded


def _are_any_of(keys: Iterable[str], listed: Collection[str]) -> bool:
    """Whether a key is listed, by itself or with its section."""
    return any(key in listed or key.partition(".")[0] in listed for key in keys)


def to_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML that `load_config` reads back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _validate(
    values: dict[str, dict[str, Any]], misspelled: Container[str]
) -> tuple[RunConfig, list[Problem]]:
    """The configuration of these values, and what is wrong with each that was left at its default instead.

    Args:
        misspelled: Keys that are known to have been meant; that they are missing was said.
    """
    problems: list[Problem] = []
    try:
        return _parse(values), problems
    except ValidationError as error:
        problems = list(_type_problems(error, misspelled))
        wrong = {f"{section}.{name}" for section, name, *_ in (detail["loc"] for detail in error.errors())}
    usable = {
        section: {name: value for name, value in fields.items() if f"{section}.{name}" not in wrong}
        for section, fields in values.items()
    }
    return _parse(usable), problems


def _parse(values: dict[str, dict[str, Any]]) -> RunConfig:
    # JSON's strict mode keeps text, numbers and booleans apart, and still takes a list for a pair.
    return RunConfig.model_validate_json(json.dumps(values, default=str))


def _type_problems(error: ValidationError, misspelled: Container[str]) -> Iterator[Problem]:
    seen: set[tuple[str, ...]] = set()
    for detail in error.errors():
        section, name, *inside = detail["loc"]
        known = all_fields()[f"{section}.{name}"]
        missing = bool(known.entries) and detail["type"] == "missing" and len(inside) == 2
        if missing and f"{known.key}[{inside[0]}].{inside[1]}" in misspelled:
            continue
        if known.entries and inside:
            problem = _entry_problem(known, inside, missing)
        else:
            problem = _field_problem(known, str(inside[0]) if inside else None)
        if missing or problem.keys not in seen:
            yield problem
        seen.update([] if missing else [problem.keys])


def _field_problem(known: ConfigField, entry: str | None) -> Problem:
    wrong = f"{known.key}.{entry}" if entry and known.names and entry not in known.names else None
    meant = nearest(wrong) if wrong else None
    return Problem((known.key,), f"expected {known.allowed}{f'; did you mean {meant}?' if meant else ''}")


def _entry_problem(known: ConfigField, inside: Sequence[int | str], missing: bool) -> Problem:
    """A mistake in an entry: `inside` is its index, then the field if it is one of those."""
    place = f"{known.key}[{inside[0]}]"
    field_ = known.entry(str(inside[1])) if len(inside) > 1 else None
    if field_ is None:
        return Problem((place,), f"expected an entry of {', '.join(each.name for each in known.entries)}")
    if missing:
        return Problem((place,), f"has no {field_.name}; expected {field_.allowed}")
    return Problem((f"{place}.{field_.name}",), f"expected {field_.allowed}")


def _defaults() -> dict[str, Any]:
    return {key: field.default for key, field in all_fields().items()}
