"""Lays YAML files and command-line overrides over each other, noting where each value was given."""

from __future__ import annotations

import re
from typing import Any

import yaml

from cluster.config.fields import ENTRY, all_fields, choices, list_of, nearest, sections
from cluster.config.problems import Origins, Problem
from cluster.config.yaml_lines import Document
from data.yaml_text import read_value

COMMAND_LINE = "command line"


class Merge:
    """Values laid over each other in order: a later field replaces an earlier one, whole.

    Attributes:
        values: By section, then field.
        problems: Keys that there are not, sections that are none, overrides that cannot be read.
        meant: The keys that misspelled ones most likely meant.
    """

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.origins = Origins()
        self.problems: list[Problem] = []
        self.meant: set[str] = set()

    def add_document(self, document: Document) -> None:
        """Lay a file over what there is."""
        for key, line in document.duplicates:
            self.problems.append(Problem((), f"{document.path}:{line}: {key} is given twice in this file"))
        for section, content in document.values.items():
            self._add_section(str(section), content, document.place(str(section)), document)

    def add_override(self, override: str) -> None:
        """Lay `section.field=value` over what there is."""
        key, equals, text = override.partition("=")
        if not equals or not key:
            self.problems.append(Problem((), f"{override!r} ({COMMAND_LINE}): expected section.field=value"))
            return
        try:
            value = read_value(text)
        except yaml.YAMLError as error:
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
            self._set(section, str(name), value, place, document)
        return None

    def _set(self, section: str, name: str, value: Any, place: str, document: Document | None = None) -> None:
        key = f"{section}.{name}"
        place = document.place(key) if document else place
        if in_list := ENTRY.fullmatch(key):
            return self._set_in_entry(in_list, value, place)
        field_name, dot, entry = name.partition(".")
        known = all_fields().get(f"{section}.{field_name}")
        if known is None or (dot and entry not in known.names):
            return self._unknown(key, place, value)
        fields = self.values.setdefault(section, {})
        if dot:
            before = fields.get(field_name, known.default)
            value = {**(before if isinstance(before, dict) else {}), entry: value}
        if known.entries and isinstance(value, list):
            value = [self._entry(f"{key}[{i}]", item, place, document) for i, item in enumerate(value)]
        fields[field_name] = value
        self.origins.note(known.key, place, value)
        return None

    def _entry(self, key: str, item: Any, place: str, document: Document | None) -> Any:
        """One entry of a list, without the keys that it cannot have."""
        self.origins.note(key, document.place(key) if document else place, item)
        if not isinstance(item, dict):
            return item
        known = all_fields()[list_of(key)]
        for name, value in item.items():
            at = f"{key}.{name}"
            note = self.origins.note if known.entry(str(name)) else self._unknown_at
            note(at, document.place(at) if document else place, value)
        return {name: value for name, value in item.items() if known.entry(str(name))}

    def _set_in_entry(self, at: re.Match[str], value: Any, place: str) -> None:
        """`data.datasets[1].weight=2`: a value in an entry that the files have."""
        known = all_fields().get(at["list"])
        section, _, field_name = at["list"].partition(".")
        entries = self.values.get(section, {}).get(field_name) or []
        if known is None or not known.entry(at["name"] or ""):
            return self._unknown(at.string if known else at["list"], place, value)
        if not isinstance(entries, list) or int(at["index"]) >= len(entries):
            self.origins.note(at.string, place, value)
            self.problems.append(Problem((at.string,), f"there are {len(entries)} entries, counted from 0"))
            return None
        entry = entries[int(at["index"])]
        if isinstance(entry, dict):
            entry[at["name"]] = value
        self.origins.note(at.string, place, value)
        return None

    def _unknown_at(self, key: str, place: str, value: Any) -> None:
        self._unknown(key, place, value)

    def _unknown(self, key: str, place: str, value: Any) -> None:
        self.origins.note(key, place, value)
        meant = nearest(key)
        self.meant.update([meant] if meant else [])
        hint = f"did you mean {meant}?" if meant else f"valid here: {choices(key)}"
        self.problems.append(Problem((key,), f"there is no such key; {hint}"))
