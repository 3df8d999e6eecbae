"""How numbers and times are spelt in an answer: patterns that the readers of intervals and boxes build on.

Every quantifier over characters is possessive (`++`), so no pattern rescans what it has read: time stays
linear however long a run of digits or blanks is.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.result import Unreadable

MAX_CHARACTERS = 32

_DECIMAL = r"(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_CLOCK = r"[0-9]++:[0-5][0-9](?::[0-5][0-9])?(?:\.[0-9]*+)?"

NUMBER = rf"[+-]?{_DECIMAL}"
TIME = rf"[+-]?(?:{_CLOCK}|{_DECIMAL})"
UNIT = r"\s*+(?:seconds?|secs?|s)"


def to_numbers(spellings: Sequence[str]) -> list[float]:
    """Values of texts that match `NUMBER`; an exponent too large gives infinity.

    Raises:
        Unreadable: one is longer than 32 characters.
    """
    if max(map(len, spellings), default=0) > MAX_CHARACTERS:
        raise Unreadable(f"a number is longer than {MAX_CHARACTERS} characters")
    return [float(spelling) for spelling in spellings]


def to_seconds(spelling: str) -> float:
    """Value in seconds of a text that matches `TIME`: plain, minutes:seconds or hours:minutes:seconds.

    Raises:
        Unreadable: it is longer than 32 characters.
    """
    if len(spelling) > MAX_CHARACTERS:
        raise Unreadable(f"a time is longer than {MAX_CHARACTERS} characters")
    seconds = 0.0
    for field in spelling.lstrip("+-").split(":"):
        seconds = 60 * seconds + float(field)
    return -seconds if spelling.startswith("-") else seconds
