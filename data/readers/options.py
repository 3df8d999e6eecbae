"""Options of choice questions as datasets write them, `(A) red` or `A. red`, and which of them is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from data.schema import LETTERS, AnnotationError
from rewards.plain import plain_characters

_LABEL = re.compile(r"\s*(?:\(([A-Z])\)|([A-Z])[.):]) ?")


def without_labels(options: Sequence[Any]) -> list[Any]:
    """The options without their letters, if every one of them carries the letter of its position."""
    if not all(isinstance(option, str) for option in options):
        return list(options)
    labels = [_LABEL.match(plain_characters(option)) for option in options]
    letters = [(label[1] or label[2]) if label else "" for label in labels]
    if letters != list(LETTERS[: len(options)]):
        return list(options)
    return [option[label.end() :] for option, label in zip(options, labels, strict=True) if label]


def letter_in(answer: str) -> str:
    """The letter of an answer given as `C`, `(C)` or `C. red`.

    Raises:
        AnnotationError: it is none of these.
    """
    text = plain_characters(answer).strip()
    label = _LABEL.match(f"{text}." if len(text) == 1 else text)
    if label is None:
        raise AnnotationError(f"the answer must be the letter of an option, found {answer!r:.60}")
    return label[1] or label[2]


def letter_of(answer: str, options: Sequence[Any]) -> str:
    """The letter of the option that an answer repeats.

    Of equal options the last counts: NExT-GQA has one such question, and VideoChat-R1's form of it says so.

    Raises:
        AnnotationError: no option is the answer.
    """
    places = [place for place, option in enumerate(options) if option == answer]
    if not places or places[-1] >= len(LETTERS):
        raise AnnotationError(f"the answer {answer!r:.60} is none of the options")
    return LETTERS[places[-1]]


def letter_at(place: int, options: Sequence[Any]) -> str:
    """The letter of the option at a position, counted from 0.

    Raises:
        AnnotationError: there is none.
    """
    if not 0 <= place < min(len(options), len(LETTERS)):
        raise AnnotationError(
            f"the answer must be the position of one of {len(options)} options, found {place}"
        )
    return LETTERS[place]
