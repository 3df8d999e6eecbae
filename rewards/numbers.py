"""The one number of an answer: how it is read and written."""

from __future__ import annotations

import math
import re

from rewards.result import Unreadable
from rewards.times import MAX_CHARACTERS

# A number stands outside words, times and dates; commas may group its digits by thousands. A unit may follow it.
_WHOLE = r"(?:[0-9]{1,3}+(?:,[0-9]{3})++(?![0-9])|[0-9]++)"
_NUMBER = re.compile(
    rf"(?<![\w.,/:\u2212])[+-]?(?:{_WHOLE}(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?(?![.,/:]?[0-9])"
)


def format_number(number: float) -> str:
    """A number in figures, without the decimals of a whole one: `42`, `-3.5`."""
    return repr(number).removesuffix(".0")


def read_number(answer: str) -> float:
    """Read the one number of an answer: `42`, `-3.5`, `1,250`, `$4.20`, `about 12 cm`, `The answer is 7.`.

    Raises:
        Unreadable: there is none or more than one, it is not finite, or longer than 32 characters.
    """
    spelled = _NUMBER.findall(answer)
    if len(spelled) != 1:
        raise Unreadable(f"{'more than one' if spelled else 'no'} number in the answer")
    if len(spelled[0]) > MAX_CHARACTERS:
        raise Unreadable(f"a number is longer than {MAX_CHARACTERS} characters")
    number = float(spelled[0].replace(",", ""))
    if not math.isfinite(number):
        raise Unreadable("the number is not finite")
    return number
