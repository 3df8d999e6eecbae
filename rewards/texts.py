"""Answers that are texts: how one is read, and the established measures of its likeness to a reference."""

from __future__ import annotations

from functools import cache
from statistics import fmean
from typing import Any

import jiwer

from rewards.result import Unreadable

ROUGE = ("rouge1", "rouge2", "rougeL")


def read_text(answer: str) -> str:
    """The answer without white space around it.

    Raises:
        Unreadable: nothing is left.
    """
    text = answer.strip()
    if not text:
        raise Unreadable("the answer is blank")
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
    scores = _rouge_scorer().score(reference, predicted)
    return fmean(scores[kind].fmeasure for kind in ROUGE)


@cache
def _rouge_scorer() -> Any:
    # It brings in NLTK, a second or more that only this task should wait for.
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE), use_stemmer=True)
