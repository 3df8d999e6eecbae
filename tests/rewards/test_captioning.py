"""Event recall of captions by the lexical judge, and any other judge in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rewards import Score, Scorer
from rewards.judge import Judge, LexicalJudge
from rewards.measures import Scored
from rewards.metrics import evaluate_task

REFERENCE = "A man opens the door. He walks to the table and then sits down on a chair, and a dog barks."


def describe(text: str, target: dict[str, Any] | None = None, judge: Judge | None = None) -> Score:
    scorer = Scorer("captioning", template="direct", judge=judge)
    return scorer.score(f"<answer>{text}</answer>", target or {"caption": REFERENCE})


@pytest.mark.parametrize(
    ("caption", "events"),
    [
        (REFERENCE, ["A man opens the door", "He walks to the table", "sits down on a chair", "a dog barks"]),
        ("She eats before leaving; it rains!", ["She eats", "leaving", "it rains"]),
        ("Salt and pepper are added while he stirs.", ["Salt and pepper are added", "he stirs"]),
        ("And then it is. The.", []),
    ],
)
def test_a_reference_is_split_into_events(caption: str, events: list[str]) -> None:
    assert LexicalJudge().events(caption) == events


@pytest.mark.parametrize(
    ("description", "recall"),
    [
        (REFERENCE, 1.0),
        ("The doors were opened by someone.", 0.25),
        ("A dog is barking. A man sat on chairs.", 0.5),
        ("THE MAN OPENED A DOOR; WALKING TO TABLES", 0.5),
        ("A cat sleeps.", 0.0),
        # An event's words must stand in one sentence.
        ("A door. A table. A chair.", 0.5),
        ("He he the the and and.", 0.0),
    ],
)
def test_an_event_is_told_where_half_of_its_content_words_stand(description: str, recall: float) -> None:
    assert describe(description).rewards["recall"] == recall


def test_listed_events_are_taken_as_they_are() -> None:
    target = {"caption": "A storm.", "events": ["a dog barks", "a cat sleeps", "the"]}
    score = describe("Dogs bark.", target)
    assert score.rewards == {"format": 1.0, "recall": pytest.approx(1 / 3)}
    assert score.prediction == {"caption": "Dogs bark."}


def test_a_reference_that_tells_nothing_recalls_nothing() -> None:
    assert describe("Dogs bark.", {"caption": "There it was."}).rewards == {"format": 1.0, "recall": 0.0}


def test_a_blank_description_has_no_format() -> None:
    assert describe(" \n").rewards == {"format": 0.0, "recall": 0.0}


def test_the_scores_are_another_judge_s() -> None:
    class Strict:
        def events(self, caption: str) -> list[str]:
            return caption.split(". ")

        def told(self, description: str, events: Sequence[str]) -> list[bool]:
            return [event in description for event in events]

    target = {"caption": "A door opens. A dog barks"}
    assert describe("first, A dog barks", target, Strict()).rewards["recall"] == 0.5
    assert describe("dogs bark", target, Strict()).rewards["recall"] == 0.0


def test_precision_is_the_share_of_what_is_said_that_the_reference_tells() -> None:
    scorer = Scorer("captioning", template="direct", options={"precision": True})
    said = "A man opens a door. A cat sleeps. The dog barks. It rains."
    score = scorer.score(f"<answer>{said}</answer>", {"caption": REFERENCE})
    assert score.rewards == {"format": 1.0, "recall": 0.5, "precision": 0.5}
    score = scorer.score("<answer>The.</answer>", {"caption": REFERENCE, "events": ["a dog barks"]})
    assert score.rewards == {"format": 1.0, "recall": 0.0, "precision": 0.0}
    # Events that the annotation lists are for the recall; what the description says is compared with the text.
    score = scorer.score("<answer>A dog barks.</answer>", {"caption": REFERENCE, "events": ["it rains"]})
    assert score.rewards == {"format": 1.0, "recall": 0.0, "precision": 1.0}


def sample(precision: float, recall: float) -> Scored:
    rewards = {"format": 1.0, "recall": recall, "precision": precision}
    return Scored({"caption": REFERENCE}, score=Score(rewards, 2.0, True, None, None))


@pytest.mark.parametrize(
    ("precision", "recall", "f1"),
    [(45.4, 33.1, 38.3), (33.8, 27.9, 30.6), (44.4, 33.0, 37.9), (32.6, 30.2, 31.4)],
)
def test_f1_is_of_the_means_as_published_figures_are(precision: float, recall: float, f1: float) -> None:
    """VideoChat-R1's DREAM-1k rows; its main row is printed as 38.2."""
    spread = [sample(precision / 100 + shift, recall / 100 - shift) for shift in (-0.2, 0.0, 0.2)]
    figures = evaluate_task("captioning", spread)
    assert list(figures) == ["recall", "precision", "F1"]
    assert figures["F1"] == pytest.approx(f1 / 100, abs=6e-4)


def test_f1_of_nothing_told_is_0() -> None:
    assert evaluate_task("captioning", [sample(0.0, 0.0), Scored({"caption": REFERENCE})])["F1"] == 0.0
