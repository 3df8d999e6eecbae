"""Which events a description tells of: what a judge is, and a deterministic one that compares words.

Captions are rewarded by the share of the reference's events that the description holds (VideoChat-R1, arXiv
2504.06958, section 3.2), which is the recall of AutoDQ (Tarsier's DREAM-1k, arXiv 2407.00634). There a language model
splits the reference into events and decides; here content words do, so that a score needs no endpoint and never varies.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import snowballstemmer

# An event counts as told when one sentence holds at least this share of its content words.
SHARE_TOLD = 0.5
MAX_WORD_CHARACTERS = 32

_SENTENCE_ENDS = re.compile(r"[.!?;\n]++")
_BLANKS = re.compile(r"\s++")
# Of a text without long runs of blanks: where one starts, none is scanned to its end.
_EVENT_ENDS = re.compile(
    r"[.!?;\n]++|,?\s+(?:and\s+)?(?:then|afterwards|before|after\s+which|while|followed\s+by)\s+|,\s+and\s+",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w++")
_STEMMER = snowballstemmer.stemmer("english")
_LITTLE_WORDS = """
a an the this that these those it its he she him her his hers they them their theirs we us our you your i me my who whom
whose which what and or but nor so if as than then there here of in on at to from by with into onto off out up down over
under for about through across around is are was were be been being am do does did doing has have had having will would
can could may might shall should not no also very while when where before after again some any each both all one other
another
"""
_FUNCTION_WORDS = frozenset(_LITTLE_WORDS.split())


class Judge(Protocol):
    """Decides which events of a reference a description tells of."""

    def events(self, caption: str) -> Sequence[str]:
        """The events that a reference tells of, at least one unless it tells nothing."""

    def told(self, description: str, events: Sequence[str]) -> Sequence[bool]:
        """For each event whether the description tells of it."""


class LexicalJudge:
    """Splits at sentence ends and connectives, and compares the stems of content words, English ones."""

    def events(self, caption: str) -> list[str]:
        """Clauses with at least one content word."""
        clauses = (clause.strip(" ,") for clause in _EVENT_ENDS.split(_BLANKS.sub(_short, caption)))
        return [clause for clause in clauses if _content_words(clause)]

    def told(self, description: str, events: Sequence[str]) -> list[bool]:
        """An event is told where one sentence holds at least half of its content words."""
        # Each once: a response may repeat itself a hundred thousand times.
        sentences = {content_stems(sentence) for sentence in set(_SENTENCE_ENDS.split(description))}
        wanted = [content_stems(event) for event in events]
        return [
            any(len(stems & sentence) >= SHARE_TOLD * len(stems) for sentence in sentences)
            if stems
            else False
            for stems in wanted
        ]


def content_stems(text: str) -> frozenset[str]:
    """Stems of the words of a text that are no function words."""
    return frozenset(map(_stem, _content_words(text)))


def _content_words(text: str) -> set[str]:
    words = {word for word in _WORD.findall(text.lower()) if len(word) <= MAX_WORD_CHARACTERS}
    return words - _FUNCTION_WORDS


def _short(blanks: re.Match[str]) -> str:
    """At most two blanks that end a clause, or lead to a connective, wherever the whole run does."""
    run = blanks[0]
    if "\n" not in run:
        return " "
    if not run.startswith("\n"):
        return " \n"
    return "\n " if run.strip("\n") else "\n"


@lru_cache(maxsize=2**16)
def _stem(word: str) -> str:
    return str(_STEMMER.stemWord(word))
