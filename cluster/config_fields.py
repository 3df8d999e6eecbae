"""What the configuration allows: every key with its limits and default, and the key a misspelling meant."""

from __future__ import annotations

import difflib
import json
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
    """

    key: str
    allowed: str
    default: Any
    description: str
    names: tuple[str, ...] = ()


def sections() -> dict[str, type[Section]]:
    """The sections in order."""
    return {name: info.annotation for name, info in RunConfig.model_fields.items()}  # type: ignore[misc]


@cache
def all_fields() -> dict[str, ConfigField]:
    """Every field by dotted key, in order."""
    return {field.key: field for name, section in sections().items() for field in _fields_of(name, section)}


def _fields_of(name: str, section: type[Section]) -> Iterator[ConfigField]:
    schema = section.model_json_schema()
    defaults = section().model_dump(mode="json")
    for field, properties in schema["properties"].items():
        yield ConfigField(
            key=f"{name}.{field}",
            allowed=_allowed(properties, schema.get("$defs", {})),
            default=defaults[field],
            description=properties["description"],
            names=tuple(_key_names(properties, schema.get("$defs", {}))),
        )


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_allowed(option, definitions) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "prefixItems" in schema:
        return f"a list of {len(schema['prefixItems'])} numbers"
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


# What other trainers call these fields.
ABBREVIATIONS = {"lr": "learning_rate", "wd": "weight_decay"}


def nearest(key: str) -> str | None:
    """The valid key a wrong one most likely meant: in its own section, else by field name, else anywhere."""
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
    section = key.rpartition(".")[0]
    if section in all_fields():
        return ", ".join(all_fields()[section].names)
    return ", ".join(sections()[section].model_fields if section in sections() else sections())


def shown(value: Any) -> str:
    """A value as the YAML would have it, cut to a line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _closest(key: str, candidates: list[str], cutoff: float = 0.6) -> str | None:
    return next(iter(difflib.get_close_matches(key, candidates, n=1, cutoff=cutoff)), None)
