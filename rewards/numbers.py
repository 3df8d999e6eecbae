"""The one number of an answer: how it is read and written."""

from __future__ import annotations

import math
import re

from rewards.quantities import find_numbers
from rewards.result import Unreadable

# What nearly every answer is, and what the grammar makes the same of.
_ALONE = re.compile(r"\s*+([+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*+")
# A group of thousands or two items, an amount or so many millions: `[1,250]`, `$5 m`.
_AMBIGUOUS = re.compile(r"\[\s*+[0-9]++,[0-9]|[$£€¥₹]\s*+[0-9.,]++\s?[A-Za-z]")


def format_number(number: float) -> str:
    """A number in figures, without the decimals of a whole one: `42`, `-3.5`."""
    return repr(number).removesuffix(".0")


def read_number(text: str) -> float:
    """Read the one number of a text: `42`, `-3.5`, `1,250`, `$4.20`, `about 12 cm`, `The answer is 7.`.

    Raises:
        Unreadable: there is none or more than one, it is not finite or longer than 32 characters, or what stands beside
            it may change its value: `3k`, `5%`, `5 dozen`, `1,5`.
    """
    if alone := _ALONE.fullmatch(text):
        return float(alone[1])
    figures = find_numbers(text).figures
    if len(figures) != 1:
        raise Unreadable(f"{'more than one' if figures else 'no'} number in the answer")
    if _AMBIGUOUS.search(text):
        raise Unreadable("a number that can be read in two ways")
    if not math.isfinite(figures[0].value):
        raise Unreadable("the number is not finite")
    return figures[0].value
