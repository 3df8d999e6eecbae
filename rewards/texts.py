"""Answers that are texts: how one is read, and the established measures of its likeness to a reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from statistics import fmean
from typing import Any

import jiwer

from rewards.result import Unreadable

ROUGE = ("rouge1", "rouge2")
# Each is stemmed, some 30 microseconds for a rare one; no response of a run has as many.
MAX_WORDS = 2048

# ROUGE's words are ASCII, the lexical judge's are of any script: of these pieces there are as many of either or more.
_PIECES = re.compile(r"[A-Za-z0-9]++|[^\WA-Za-z0-9]++")


def read_text(answer: str) -> str:
    """The answer without white space around it.

    Raises:
        Unreadable: nothing is left.
    """
    text = answer.strip()
    if not text:
        raise Unreadable("the answer is blank")
    return text


def read_wording(answer: str) -> str:
    """As `read_text`, of a text whose words are compared by their stems.

    Raises:
        Unreadable: nothing is left, or more than 2,048 words are.
    """
    text = read_text(answer)
    for number, _ in enumerate(_PIECES.finditer(text), start=1):
        if number > MAX_WORDS:
            raise Unreadable(f"the answer has more than {MAX_WORDS:,} words")
    return text


def word_accuracy(predicted: str, reference: str) -> float:
    """1 minus the word error rate, 0 where that is above 1; words are told apart by white space, case counts.

    Args:
        reference: Not blank.
    """
    words, wanted = predicted.split(), reference.split()
    # So many words are at least as many insertions as words are wanted: no alignment can save them.
    if len(words) >= 2 * len(wanted):
        return 0.0
    return max(0.0, 1.0 - jiwer.wer(" ".join(wanted), " ".join(words)))


def rouge(predicted: str, reference: str) -> float:
    """Mean of the F1 of ROUGE-1, ROUGE-2 and ROUGE-L with stemming, as Video-R1 rewards free-form answers."""
    tokenizer, scorer = _rouge_tools()
    scores = scorer.score(reference, predicted)
    words, wanted = tokenizer.tokenize(predicted), tokenizer.tokenize(reference)
    return fmean([*(scores[kind].fmeasure for kind in ROUGE), _rouge_l(words, wanted)])


def _rouge_l(words: Sequence[str], wanted: Sequence[str]) -> float:
    """F1 of the longest common subsequence; the library's own table takes words times words of interpreted steps."""
    if not words or not wanted:
        return 0.0
    shared = common_words(words, wanted)
    precision, recall = shared / len(words), shared / len(wanted)
    return 2 * precision * recall / (precision + recall) if shared else 0.0


def common_words(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, in words (Hyyrö 2004: a column of the table in one integer's bits)."""
    places: dict[str, int] = {}
    for place, word in enumerate(second):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(second)) - 1
    column = everywhere
    for word in first:
        matches = column & places.get(word, 0)
        column = (column + matches | column - matches) & everywhere
    return len(second) - column.bit_count()


@cache
def _rouge_tools() -> tuple[Any, Any]:
    # They bring in NLTK, a second or more that only this task should wait for.
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=True)
    return tokenizer, RougeScorer(list(ROUGE), tokenizer=tokenizer)
