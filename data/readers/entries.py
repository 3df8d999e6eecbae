"""What a reader yields, and how it takes values from an entry that may be damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from data.readers.spec import DatasetSpec
from data.schema import AnnotationError
from rewards.targets import is_number

T = TypeVar("T")

Fields = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One annotation of a dataset, which is one prompt.

    Attributes:
        place: Where it stands: `file:line`, or `file[key]` within JSON.
        fields: Makes the JSON object of our own schema from it. Raises `AnnotationError` if the entry is damaged, or
            `OSError` if a file that belongs to it alone cannot be read.
    """

    place: str
    fields: Callable[[], Fields]


@dataclass(frozen=True)
class Reader:
    """What reads a format.

    Attributes:
        entries: Yields the entries of a dataset in order. Raises `DatasetError` for a specification that it cannot work
            with, and `OSError` for a file that the whole dataset needs.
        options: Names of the options that a specification may give it.
    """

    entries: Callable[[DatasetSpec], Iterator[Entry]]
    options: tuple[str, ...] = ()


def broken(place: str, reason: str) -> Entry:
    """An entry, or a whole file, of which nothing can be used."""

    def refuse() -> NoReturn:
        raise AnnotationError(reason)

    return Entry(place, refuse)


def take(entry: Any, key: str, kind: type[T]) -> T:
    """The value of a key of a JSON object.

    Raises:
        AnnotationError: no object, no such key, or a value of another type.
    """
    if not isinstance(entry, dict):
        raise AnnotationError(f"expected an object, found {type(entry).__name__}")
    if key not in entry:
        raise AnnotationError(f"missing {key}")
    value = entry[key]
    if not isinstance(value, kind):
        raise AnnotationError(f"{key} must be {_NAMES[kind]}, found {value!r:.60}")
    return value


def take_number(entry: Any, key: str) -> float:
    """A finite number. Raises as `take` does."""
    value = take(entry, key, object)
    if not is_number(value):
        raise AnnotationError(f"{key} must be a finite number, found {value!r:.60}")
    return value


def part_of(entry: Mapping[str, Any], key: str) -> Fields:
    """The part of its benchmark that an entry says it belongs to; nothing where it does not."""
    value = entry.get(key)
    return {"part": value} if isinstance(value, str) else {}


def read_number(text: str, what: str) -> float:
    """A finite number from text, thousands separated by commas or not.

    Raises:
        AnnotationError: it is none.
    """
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        raise AnnotationError(f"{what} must be a number, found {text!r:.60}") from None
    if not is_number(value):
        raise AnnotationError(f"{what} must be finite, found {text!r:.60}")
    return value


def sentence(text: str) -> str:
    """A description as a prompt takes it: without the blanks around it and the full stop at its end."""
    return text.strip().removesuffix(".")


def same_length(first: Sequence[Any], second: Sequence[Any], what: str) -> None:
    """Raises `AnnotationError` unless two lists that belong together are equally long."""
    if len(first) != len(second):
        raise AnnotationError(f"{len(first)} and {len(second)} {what}")


_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    object: "anything",
}
