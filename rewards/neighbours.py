"""What stands beside a figure: whether all of it is known to leave the figure's value alone.

An outline is a text in which every figure is the one character `FIGURE` and every blank a single space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewards import words
from rewards.plain import CJK, ODD_FIGURE
from rewards.result import Unreadable
from rewards.words import any_of

FIGURE = "\ue000"
# How far before a figure a word can be that changes it, characters.
REACH = 100
# How much of what was refused is quoted, characters.
QUOTED = 30

_F = FIGURE
_CURRENCIES = "$£€¥₹"
_LITTLE_WORDS = (
    "(?:range|interval|about|around|approximately|roughly|the|a|at|from|in|is|are|be|of|to|between)"
)
_WORD = re.compile("[a-z]++")
# What is said of the figures afterwards: that they are wrong, or where they count from.
_SAID_WRONG = (
    rf"{_F}\W{{1,3}}(?:(?:is|was|are|were|does|do|did|would be) ?)?"
    r"(?:(?:not|wrong|incorrect|false)\b|n['’]t\b)"
)
_ANYWHERE = re.compile(
    rf"[%‰{ODD_FIGURE}✗✘❌❎✖]|~~|{any_of(words.CJK_KINDS)}|最后|最後|倒数|倒數|{_F} ?: {_F}|{_SAID_WRONG}"
    rf"|{_F} ?[?,] ?no\W*\Z"
    r"|\bat (?:most|least)\b|\bunits?\b ?[:=]|\b(?:from|before|of) the (?:very )?end\b|thing but ",
    re.IGNORECASE,
)
_A_PART_MORE = re.compile(rf"{_F} (?:and )?(?:a |one |three )?{any_of(words.PARTS)}\b", re.IGNORECASE)

# At the end of what stands before a figure.
_AHEAD = (
    # A dash that no figure stands before: no separator, and for a sign too far away, or of another kind.
    rf"(?<!{_F})(?<!{_F} )(?<!{_F}-)(?<!{_F} -)(?<!{_F}--)(?<!{_F} --)[-–] ?[~≈]? ?[{_CURRENCIES}]?",
    r"""[^\w\s.,;:=!?()\[\]{}"'“”‘’「」『』【】~≈→–\-…。、；|>] """,
    r"[<>!≠≤≥±+*/×÷^]=? ?",
    rf"(?:(?<!\w){any_of(words.CHANGES_AHEAD)}|n['’]t)\W{{1,3}}(?:{_LITTLE_WORDS}\W{{1,3}}){{0,3}}",
    r"\bup to ",
    rf"(?<![A-Za-z]){any_of(words.NAMES_AHEAD)}(?: (?:of )?(?:the )?|[ ({{\[]{{0,2}})",
    r"\bone in ",
    rf"(?<!\w)(?:one|{any_of(words.NUMERALS)})[ -]",
    rf"[{words.CJK_NUMERALS}] ?",
    r"不[是到足超]{1,2} ?",
    rf"[^\s(\[{{:=][{_CURRENCIES}]",
)


@dataclass(frozen=True)
class Neighbours:
    """What may stand beside figures of one kind.

    Attributes:
        follows: Matches a figure with something else after it than what leaves it alone.
        ahead: Finds, at the end of what stands before a figure, what does not leave it alone.
        kinds: Words that may stand nowhere.
        multiples: Words that may not stand after the first figure.
    """

    follows: re.Pattern[str]
    ahead: re.Pattern[str]
    kinds: frozenset[str]
    multiples: frozenset[str]

    def check(self, outline: str, spelt: Sequence[str]) -> None:
        """See that nothing beside a figure of the outline may make it another value or kind.

        Args:
            spelt: The figures of the outline as they are written.

        Raises:
            Unreadable: something may; it is quoted.
        """
        if changed := self._changed(outline):
            place, piece = changed
            figures = iter(spelt[outline.count(_F, 0, place) :])
            piece = re.sub(_F, lambda found: next(figures), piece).strip()
            piece = piece.replace("”", '"')
            quoted = f"{piece[:QUOTED]}…" if len(piece) > QUOTED else piece
            raise Unreadable(f"what stands beside a number may change its value or kind: “{quoted}”")

    def _changed(self, outline: str) -> tuple[int, str] | None:
        """Where a piece of the outline that may change a figure begins, and the piece; None where there is none."""
        first = outline.find(_F)
        if first < 0:
            return None
        if found := _ANYWHERE.search(outline) or _A_PART_MORE.search(outline):
            return found.start(), found[0]
        said = self.kinds.intersection(_WORD.findall(outline.lower()))
        if said := said or self.multiples.intersection(_WORD.findall(outline[first:].lower())):
            return first, min(said)
        for place in _places(outline, first):
            if self.follows.match(outline, place):
                return place, outline[place : place + QUOTED]
            start = max(0, place - REACH)
            if ahead := self.ahead.search(outline[start:place]):
                return start + ahead.start(), ahead[0] + _F
        return None


def _places(outline: str, first: int) -> Iterator[int]:
    while first >= 0:
        yield first
        first = outline.find(_F, first + 1)


def _what_follows(cjk: str, *more: str) -> re.Pattern[str]:
    said = rf"(?<=\s){any_of(words.FUNCTION_WORDS)}(?![\w'’-])|(?:to|and) ?{_F}"
    punctuation = rf"[.,;:?。；、…](?![^\W_]|{_F})"
    dash = rf"(?:-{{1,3}}|[–~→]) ?[~≈]? ?{_F}|(?<=\s)[-–]\s"
    beside = rf"{any_of(cjk)}++(?![{CJK}])"
    aside = r"(?<=\s)[(\[](?! ?(?:k|m|bn|h|hr|min|ms|us) ?[)\]])"
    fine = "|".join((r"\Z", punctuation, dash, aside, said, beside, *more))
    return re.compile(rf"{_F}(?! ?(?:[)\]}}」』】] ?)*+(?:{fine}))", re.IGNORECASE)


def _what_is_ahead(touching: str, *more: str) -> re.Pattern[str]:
    """What changes a figure; besides, whatever touches it but `(5`, `~5`, `from5` and their like."""
    glued = r"(?<!\bfrom)(?<!\bto)(?<!\band)"
    touches = rf"{glued}(?<=[^\s(\[{{:=,;~≈→–\-|{CJK}{touching}])"
    return re.compile(rf"(?:{'|'.join((*_AHEAD, *more, touches))})\Z", re.IGNORECASE)


TIMES = Neighbours(
    # Of a number it is the factorial.
    follows=_what_follows(words.CJK_FUNCTION_WORDS, r"!++\Z"),
    ahead=_what_is_ahead(""),
    kinds=frozenset(words.KINDS.split()),
    multiples=frozenset(),
)
NUMBERS = Neighbours(
    follows=_what_follows(f"{words.CJK_FUNCTION_WORDS} {words.CJK_COUNTERS}"),
    # `-(-4)`: of an interval it is a bracket after a dash.
    ahead=_what_is_ahead(_CURRENCIES, r"[-–] ?[(\[{] ?"),
    kinds=frozenset(f"{words.KINDS} {words.NUMERALS}".split()),
    multiples=frozenset(f"{words.MULTIPLES} {words.PARTS}".split()),
)
