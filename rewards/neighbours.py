"""What stands beside a figure: whether all of it is known to leave the figure's value alone.

An outline is a text in which every figure is the one character `FIGURE` and every blank a single space.
"""

from __future__ import annotations

import re

from rewards import words
from rewards.plain import CJK, ODD_FIGURE
from rewards.result import Unreadable
from rewards.words import any_of

FIGURE = "\ue000"

_F = FIGURE
_CURRENCIES = "$£€¥₹"
_LITTLE_WORDS = "(?:about|around|approximately|roughly|the|a|at|from|in|is|are|of|to|between)"


def _what_follows(cjk: str) -> re.Pattern[str]:
    """Finds a figure with something else after it than what leaves it alone."""
    said = rf"(?<=\s){any_of(words.FUNCTION_WORDS)}(?![\w'’-])|(?:to|and) ?{_F}"
    punctuation = rf"[.,;:?。；、…](?![^\W_]|{_F})"
    dash = rf"(?:-{{1,3}}|[–~→]) ?[~≈]? ?{_F}|(?<=\s)[-–]\s"
    beside = rf"{any_of(cjk)}++(?![{CJK}])"
    fine = rf"\Z|{punctuation}|{dash}|(?<=\s)[(\[]|{said}|{beside}"
    return re.compile(rf"{_F}(?! ?(?:[)\]}}」』】] ?)*+(?:{fine}))", re.IGNORECASE)


def _what_touches(allowed: str) -> re.Pattern[str]:
    """Finds a figure in touch with something before it: not `(5`, `~5` or `from5`."""
    glued = r"(?<!\bfrom)(?<!\bto)(?<!\band)"
    return re.compile(rf"{glued}(?<=[^\s(\[{{:=,;~≈→–\-|{CJK}{allowed}]){_F}", re.IGNORECASE)


def _word(some: str) -> str:
    return rf"(?<![A-Za-z]){any_of(some)}(?![A-Za-z])"


_AHEAD = (
    # A dash that nothing stands before: no separator, and for a sign too far away, or of another kind.
    rf"(?<!{_F})(?<!{_F} )(?<!{_F}-)(?<!{_F} -)(?<!{_F}--)(?<!{_F} --)[-–] ?[~≈]? ?[{_CURRENCIES}]?{_F}",
    rf"""[^\w\s.,;:=!?()\[\]{{}}"'“”‘’「」『』【】~≈→–\-…。、；|>] {_F}""",
    rf"[<>!≠≤≥±+*/×÷^]=? ?{_F}",
    rf"(?<!\w){any_of(words.CHANGES_AHEAD)}\W{{1,3}}(?:{_LITTLE_WORDS}\W{{1,3}}){{0,3}}{_F}",
    rf"\bup to {_F}",
    rf"(?<!\w){any_of(words.NAMES_AHEAD)} {_F}",
    rf"[{words.CJK_NUMERALS}] ?{_F}|不到 ?{_F}",
)
_ANYWHERE = (rf"[%‰{ODD_FIGURE}]|~~", _word(words.KINDS), any_of(words.CJK_KINDS))
_A_PART_MORE = rf"{_F} (?:and )?(?:a |one |three )?{_word(words.PARTS)}"
_AMOUNT = rf"(?<=[^\s(\[{{:=])[{_CURRENCIES}]{_F}"


def _compiled(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_TIME_FOLLOWS, _TIME_TOUCHES = _what_follows(words.CJK_FUNCTION_WORDS), _what_touches("")
_TIME_CHANGES = _compiled(*_ANYWHERE, *_AHEAD, _A_PART_MORE)
_NUMBER_FOLLOWS = _what_follows(f"{words.CJK_FUNCTION_WORDS} {words.CJK_COUNTERS}")
_NUMBER_TOUCHES = _what_touches(_CURRENCIES)
_NUMBER_CHANGES = _compiled(*_ANYWHERE, *_AHEAD, _AMOUNT, _word(words.NUMERALS))
_MULTIPLES = _compiled(_word(f"{words.MULTIPLES} {words.PARTS}"))


def check_times(outline: str) -> None:
    """Raises `Unreadable` where what stands beside a figure may make it something else than a time in its unit."""
    if FIGURE in outline and any(
        wrong.search(outline) for wrong in (_TIME_FOLLOWS, _TIME_TOUCHES, _TIME_CHANGES)
    ):
        raise Unreadable("what stands beside a number may change its value or kind")


def check_numbers(outline: str) -> None:
    """Raises `Unreadable` where what stands beside a figure may make it another number."""
    wrongs = (_NUMBER_FOLLOWS, _NUMBER_TOUCHES, _NUMBER_CHANGES)
    first = outline.find(FIGURE)
    if first >= 0 and (any(wrong.search(outline) for wrong in wrongs) or _MULTIPLES.search(outline, first)):
        raise Unreadable("what stands beside the number may change its value or kind")
