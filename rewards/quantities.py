"""The one grammar of numbers and times, for answers, targets and annotations.

A figure is read with all that belongs to it: its sign, its groups of thousands, its unit of time. Whatever else touches
or follows it must be known to leave its value alone, or the text cannot be read. `find` takes a text to its figures and
to an outline of what stands between them, in which each figure is one character, `FIGURE`; patterns over the outline
then say what the figures make up.

Every quantifier over characters is possessive (`++`) or bounded, and figures are at most `MAX_FIGURES`: time stays
linear in the length of the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rewards.neighbours import FIGURE, NUMBERS, TIMES
from rewards.plain import CJK, plain, without_marks
from rewards.result import Unreadable
from rewards.words import MEASURES, TIME_UNITS, any_of

MAX_CHARACTERS = 32
MAX_FIGURES = 100

_LETTER = rf"[^\W\d{CJK}]"
# A minus straight after a figure or a word is a dash, and after such a dash a sign again: `-3--1`.
_SIGN = r"(?:(?<![^\s(\[{:=,;~–→*\"'≈])|(?<=[0-9A-Za-z.]-))[+-](?=\.?[0-9])"
_DIGITS = r"\.?[0-9]++(?:[.:]++[0-9]++)*+\.?(?:[eE][+-]?[0-9]++)?"
# Not from 0: `0,250` is a decimal comma.
_GROUPED = r"[1-9][0-9]{0,2}(?:,[0-9]{3})++(?![0-9])(?:\.[0-9]*+)?"
# A large M is a million.
_TIME_UNIT = rf"(?-i:[hm])|{any_of(' '.join(TIME_UNITS.keys() - {'h', 'm'}))}"
# `from 5s to7` is read: `to` and `and` may touch what they join.
_UNIT = rf"\s*+({_TIME_UNIT})(?:(?!{_LETTER})|(?=(?:to|and)[\s\d]))(?:\.(?!\w))?"
# `MM` and `G` are no measures, and `5m` may be five million.
_MEASURE = rf"(?:\s*+((?-i:(?<=\s)m|{any_of(MEASURES)}))(?!{_LETTER}))"
# Of subtitles (SRT): the milliseconds stand after a comma.
_SRT = r"[0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}(?![0-9.:]|,[0-9])"
_TIME = re.compile(rf"({_SIGN})?({_SRT}|{_DIGITS})(?:{_UNIT})?", re.IGNORECASE)
_NUMBER = re.compile(rf"({_SIGN})?({_GROUPED}|{_DIGITS}){_MEASURE}?", re.IGNORECASE)

_PLAIN_NUMBER = r"(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_DECIMAL = re.compile(_PLAIN_NUMBER)
# Of a text that is figures and separators alone, a list of boxes for instance.
NUMBER = rf"[+-]?{_PLAIN_NUMBER}"
_CLOCK = re.compile(r"[0-9]++:[0-5][0-9](?::[0-5][0-9])?(?:\.[0-9]*+)?")
# Only there a comma may touch two figures: it joins no decimals and no thousands.
_PAIR_IN_BRACKETS = re.compile(rf"([\[(] ?){FIGURE},{FIGURE}( ?[\])])")


class Figure(NamedTuple):
    """A number or a time as it stands in a text.

    Attributes:
        start, end: Where it is in the text, its sign and unit included.
        value: As spelt, seconds where it has a unit of time or is a clock time; it may be infinite.
        unit: As spelt, in lower case; of a compound the last one; empty where there is none.
        scale: Seconds in its unit; None where it has none.
        is_whole_time: A compound or a clock time, whose unit is no unit of the number beside it.
        unit_start: Where its unit begins in the text, `end` where it has none.
    """

    start: int
    end: int
    value: float
    unit: str
    scale: float | None
    is_whole_time: bool
    unit_start: int


class Found(NamedTuple):
    """The figures of a text, and its outline: blanks are single there, and each figure is `FIGURE`."""

    figures: Sequence[Figure]
    outline: str


def find_times(text: str) -> Found:
    """Every figure of a text as a time in seconds.

    Raises:
        Unreadable: one is not read with all that belongs to it, or is longer than 32 characters.
    """
    text = without_marks(plain(text))
    found = _find(text, _TIME, TIME_UNITS)
    TIMES.check(found.outline, [text[figure.start : figure.end] for figure in found.figures])
    return found


def find_numbers(text: str) -> Found:
    """Every figure of a text as a number, whatever measure it is of. Raises as `find_times` does."""
    text = without_marks(plain(text))
    found = _find(text, _NUMBER, {})
    if any(figure.is_whole_time for figure in found.figures):
        raise Unreadable("a clock time instead of a number")
    NUMBERS.check(found.outline, [text[figure.start : figure.end] for figure in found.figures])
    return found


def _find(text: str, pattern: re.Pattern[str], units: Mapping[str, float]) -> Found:
    figures: list[Figure] = []
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        if len(figures) == MAX_FIGURES:
            raise Unreadable(f"more than {MAX_FIGURES} numbers")
        gap = text[end : match.start()]
        sign = match[1] or ""
        if figures and gap.isspace():  # `12.5 -17`: the minus is the separator
            gap, sign = gap + sign, ""
        elif figures and sign and gap.endswith(("-", "–")) and figures[-1].value >= 0:
            raise Unreadable("two dashes, of which the second may be a sign")
        figure = _figure(match, sign, units)
        whole = _compound(figures[-1], gap, figure) if figures else None
        if whole:
            figures[-1] = whole
        else:
            figures.append(figure)
            pieces.append(gap)
        end = match.end()
    outline = FIGURE.join([*pieces, text[end:]])
    outline = re.sub(r"-{1,2}>", "→", re.sub(r"\s++", " ", outline)).strip()
    return Found(figures, _PAIR_IN_BRACKETS.sub(rf"\1{FIGURE}, {FIGURE}\2", outline))


def _figure(match: re.Match[str], sign: str, units: Mapping[str, float]) -> Figure:
    spelt, unit = match[2], (match[3] or "").lower()
    if len(sign + spelt) > MAX_CHARACTERS:
        raise Unreadable(f"a number is longer than {MAX_CHARACTERS} characters")
    is_clock = ":" in spelt
    scale = units.get(unit)
    if is_clock:
        spelt = spelt.replace(",", ".")
        # With a unit, only of what its last field counts or, of two fields, its first: `1:05 min`.
        if not _CLOCK.fullmatch(spelt) or (scale or 1.0) > (60.0 if spelt.count(":") == 1 else 1.0):
            raise Unreadable(f"{spelt} is no time")
        value = 0.0
        for field in spelt.split(":"):
            value = 60 * value + float(field)
        scale = 1.0
    else:
        spelt = spelt.replace(",", "")
        if not _DECIMAL.fullmatch(spelt):
            raise Unreadable(f"{spelt} is no number")
        value = float(spelt) * (scale or 1.0)
    unit_start = match.end(2)
    return Figure(
        match.start(), match.end(), -value if sign == "-" else value, unit, scale, is_clock, unit_start
    )


_WITHIN_A_COMPOUND = re.compile(r"\s*+(?:and\s++)?", re.IGNORECASE)


def _compound(first: Figure, gap: str, second: Figure) -> Figure | None:
    """`1 min` and `5 s`, with blanks or `and` between them, as one time; None where they are two.

    Raises:
        Unreadable: the smaller unit has more than the larger one holds: `1 minute and 90 seconds`.
    """
    are_times = first.scale and second.scale and first.unit and second.unit
    if not are_times or first.scale <= second.scale or not _WITHIN_A_COMPOUND.fullmatch(gap):  # type: ignore[operator]
        return None
    if second.is_whole_time or second.value >= first.scale or (first.value / first.scale) % 1:  # type: ignore[operator]
        raise Unreadable("a time in several units that do not add up")
    value = first.value + math.copysign(second.value, first.value)
    return Figure(first.start, second.end, value, second.unit, second.scale, True, second.end)
