"""What the configuration allows: every key with its limits and default, and the key a misspelling meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from cluster.config import RunConfig, Section

_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}
_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


@dataclass(frozen=True)
class ConfigField:
    """One key of the configuration.

    Attributes:
        key: Dotted path, `rollout.group_size`.
        allowed: What its value may be, in words.
        names: The keys its mapping may have, for the few fields that are mappings.
        entries: The fields of each entry, for the few that are lists of entries; their keys are `data.datasets[].cap`.
        required: Whether an entry must have it.
    """

    key: str
    allowed: str
    default: Any
    description: str
    names: tuple[str, ...] = ()
    entries: tuple[ConfigField, ...] = ()
    required: bool = False

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition(".")[2]

    def entry(self, name: str) -> ConfigField | None:
        """The field of its entries that is called so."""
        return next((field for field in self.entries if field.name == name), None)


# A place in a list of entries: `data.datasets[1]`, `data.datasets[1].weight`.
ENTRY = re.compile(r"(?P<list>[^\[\]]+)\[(?P<index>\d+)\](?:\.(?P<name>.+))?")


def list_of(key: str) -> str:
    """The field that a key is of: `data.datasets` for `data.datasets[1].weight`, any other key itself."""
    return key.partition("[")[0]


def sections() -> dict[str, type[Section]]:
    """The sections in order."""
    return {name: info.annotation for name, info in RunConfig.model_fields.items()}  # type: ignore[misc]


@cache
def all_fields() -> dict[str, ConfigField]:
    """Every field by dotted key, in order."""
    return {field.key: field for name, section in sections().items() for field in _fields_of(name, section)}


def every_field() -> Iterator[ConfigField]:
    """Every field, those of entries behind their list."""
    for field in all_fields().values():
        yield from (field, *field.entries)


def _fields_of(name: str, section: type[Section]) -> Iterator[ConfigField]:
    schema = section.model_json_schema()
    defaults = section().model_dump(mode="json")
    return _fields(name, schema, schema.get("$defs", {}), defaults)


def _fields(
    prefix: str, schema: dict[str, Any], definitions: dict[str, Any], defaults: dict[str, Any]
) -> Iterator[ConfigField]:
    for name, properties in schema["properties"].items():
        entry = _entry_schema(properties, definitions)
        of_entry = {key: value.get("default") for key, value in entry.get("properties", {}).items()}
        yield ConfigField(
            key=f"{prefix}.{name}",
            allowed=_allowed(properties, definitions),
            default=defaults[name],
            description=properties["description"],
            names=tuple(_key_names(properties, definitions)),
            entries=tuple(_fields(f"{prefix}.{name}[]", entry, definitions, of_entry)) if entry else (),
            required=name in schema.get("required", ()),
        )


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(option, definitions) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])} numbers"
    if schema["type"] == "array":
        names = ", ".join(_entry_schema(schema, definitions)["properties"])
        return f"a list of entries of {names}"
    if schema["type"] == "object":
        names = ", ".join(_key_names(schema, definitions))
        keys = f"any of {names}" if names else "names"
        return f"a mapping from {keys} to {_allowed(schema['additionalProperties'], definitions)}"
    limits = [f"{words} {_number(schema[limit])}" for limit, words in _LIMITS.items() if limit in schema]
    if "pattern" in schema:
        limits.append("of letters, digits, '.', '_' and '-', the first a letter or digit")
    if schema.get("minLength"):
        limits.append("not empty")
    return " ".join([_KINDS[schema["type"]], " and ".join(limits)]).strip()


def _number(value: float) -> str:
    return str(int(value) if value == int(value) else value)


def _key_names(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    reference = schema.get("propertyNames", {}).get("$ref", "")
    return list(definitions[reference.rsplit("/", 1)[-1]]["enum"]) if reference else []


def _entry_schema(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a list's entries; empty for anything that is no list of entries."""
    reference: str = (schema.get("items") or {}).get("$ref", "")
    found: dict[str, Any] = definitions[reference.rsplit("/", 1)[-1]] if reference else {}
    return found


# What other trainers call these fields.
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}


def nearest(key: str) -> str | None:
    """The valid key a wrong one most likely meant: in its own section, else by field name, else anywhere."""
    if place := ENTRY.fullmatch(key):
        meant = _closest(place["name"] or "", [field.name for field in all_fields()[place["list"]].entries])
        return f"{place['list']}[{place['index']}].{meant}" if meant else None
    section, _, field = key.rpartition(".")
    field = ABBREVIATIONS.get(field, field)
    key = f"{section}.{field}" if section else field
    keys = list(all_fields())
    if section in all_fields():
        return _closest(key, [f"{section}.{name}" for name in all_fields()[section].names])
    own = sections()[section].model_fields if section in sections() else {}
    similar = _closest(field, list(own))
    if similar:
        return f"{section}.{similar}"
    same_name = [k for k in keys if k.rpartition(".")[2] == field]
    found = _closest(key, same_name, 0.0) or _closest(key, keys)
    return found or (None if own else _closest(key, list(sections())))


def choices(key: str) -> str:
    """The keys that may stand where a wrong one stands."""
    if place := ENTRY.fullmatch(key):
        return ", ".join(field.name for field in all_fields()[place["list"]].entries)
    section = key.rpartition(".")[0]
    if section in all_fields():
        return ", ".join(all_fields()[section].names)
    return ", ".join(sections()[section].model_fields if section in sections() else sections())


def shown(value: Any) -> str:
    """A value as the YAML would have it, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _closest(key: str, candidates: list[str], cutoff: float = 0.6) -> str | None:
    # No key is as long: what is cut off could only make it less alike.
    return next(iter(difflib.get_close_matches(key[:200], candidates, n=1, cutoff=cutoff)), None)
