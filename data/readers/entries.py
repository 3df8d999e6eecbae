"""What a reader yields, and how it takes values from an entry that may be damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from data.readers.spec import DatasetSpec
from data.schema import AnnotationError
from rewards import intervals, numbers
from rewards.plain import says_something
from rewards.result import Unreadable
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


def take_wording(entry: Any, key: str) -> str:
    """A text that says something. Raises as `take` does."""
    text = take(entry, key, str)
    if not says_something(text):
        raise AnnotationError(f"{key} must not be blank")
    return text


def part_of(entry: Mapping[str, Any], key: str) -> Fields:
    """The part of its benchmark that an entry says it belongs to; nothing where it does not."""
    value = entry.get(key)
    return {"part": value} if isinstance(value, str) else {}


def read_number(text: str, what: str) -> float:
    """The finite number that a text is, by the rules for answers: `1,250` is 1250, and `1,5` is none.

    Raises:
        AnnotationError: it is none.
    """
    return _by(numbers.read_number, text, f"{what} must be a number")


def read_time(text: str, what: str) -> float:
    """The seconds that a text is, by the rules for answers: `12.5`, `0:12.5`. Raises as `read_number` does."""
    return _by(intervals.read_time, text, f"{what} must be a time in seconds")


def _by(read: Callable[[str], float], text: str, wanted: str) -> float:
    try:
        return read(text)
    except Unreadable as error:
        raise AnnotationError(f"{wanted}, found {text!r:.60}: {error}") from error


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
