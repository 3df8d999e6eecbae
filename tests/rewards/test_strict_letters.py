"""The strict definition of a letter: every spelling of one, and nothing that only looks like it."""

from __future__ import annotations

import pytest

from rewards import Score, score_response
from rewards.letters import read_letter
from rewards.result import Unreadable
from tests.rewards.test_strict_scoring import thought


def choose(answer: str, right: str = "C", num_options: int | None = 4) -> Score:
    return score_response("multiple_choice", thought(answer), {"answer": right}, num_options=num_options)


@pytest.mark.parametrize(
    "answer",
    [
        "C",
        "(C)",
        "c",
        "C.",
        "c)",
        "C. a cat",
        "C) a cat",
        "C. A cat",
        "(C) A cat jumps.",
        "Answer: C",
        "Best answer: C",
        "The answer is C",
        "The correct option is (C).",
        "option C",
        "**C**",
        "'C'",
        "C, I mean C",
        "I think it's C because Dogs Bark",
        "C. a T-shirt of the U.S. team",
        "C: it is a cat, e.g. a tabby",
    ],
)
def test_every_spelling_of_a_letter_is_read(answer: str) -> None:
    score = choose(answer)
    assert score.rewards == {"format": 1.0, "accuracy": 1.0}
    assert score.prediction == {"answer": "C"}


@pytest.mark.parametrize(
    "answer",
    [
        "B or C",
        "b or c",
        "a or c",
        "Not A but C",
        "A cat, so C",
        "C. D",
        "C or d",
        "A, B, C and D",
        "Could be",
        "a cat",
        "the third",
        "CC",
        "C1",
        "It's a T-shirt",
        "С",  # noqa: RUF001 - Cyrillic
        "E",
        "option E",
        "3",
    ],
)
def test_two_letters_none_or_one_beyond_the_options_do_not_parse(answer: str) -> None:
    assert choose(answer).rewards == {"format": 0.0, "accuracy": 0.0}


GROUNDED_B = {"answer": "B", "intervals": [[1, 2]]}
PEOPLE = ["Person B", "Person A", "A toy.", "Both A and B"]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B. Person A", "B"),
        ("(B) person a", "B"),
        ("B: Person A", "B"),
        ("The answer is B, Person A", "B"),
        ("A. Person B", "A"),
        ("C. A toy", "C"),
        ("C) A toy.", "C"),
        ("D. Both A and B", "D"),
        ("D", "D"),
        # The text alone is not what was asked for, and least of all another option's letter.
        ("Person A", None),
        ("Person B", None),
        ("A toy.", None),
        ("Both A and B", None),
        ("A or B", None),
        # Not an option's text.
        ("A person", "A"),
        ("Persona B", "B"),
    ],
)
def test_a_letter_inside_of_an_option_is_no_answer(answer: str, letter: str | None) -> None:
    for target, task in (({"answer": "B"}, "multiple_choice"), (GROUNDED_B, "grounded_qa")):
        evidence = "<glue>[(1, 2)]</glue>" if task == "grounded_qa" else ""
        score = score_response(task, thought(answer) + evidence, target, options=PEOPLE)
        assert (score.prediction or {}).get("answer") == letter
        assert score.rewards["accuracy"] == float(letter == "B")


@pytest.mark.parametrize(
    ("options", "answer", "letter"),
    [(["B", "A"], "A", "A"), (["option B", "option A"], "option A", "A"), (["red", "blue"], "B. blue", "B")],
)
def test_options_that_are_letters_hide_none(options: list[str], answer: str, letter: str) -> None:
    score = score_response("multiple_choice", thought(answer), {"answer": "A"}, options=options)
    assert score.prediction == {"answer": letter}


@pytest.mark.parametrize(
    ("answer", "letter"), [("A. l", "A"), ("(c) O.", "C"), ("B: V", "B"), ("A. v", None)]
)
def test_an_option_that_is_a_letter_may_be_written_out(answer: str, letter: str | None) -> None:
    """Of `A. v` neither is known to be meant."""
    if letter is None:
        with pytest.raises(Unreadable):
            read_letter(answer, 3, ["l", "v", "o"])
    else:
        assert read_letter(answer, 3, ["l", "v", "o"]) == letter


def test_a_wrong_letter_keeps_the_format() -> None:
    score = choose("B")
    assert score.rewards == {"format": 1.0, "accuracy": 0.0}
    assert score.prediction == {"answer": "B"}
    assert choose("A cat").prediction == {"answer": "A"}
    assert choose("E", num_options=None).rewards == {"format": 1.0, "accuracy": 0.0}


@pytest.mark.parametrize(
    ("answer", "options", "letter"),
    [
        ("A dog", ("a cat", "a dog", "a cow"), None),
        ("A dog.", ("A cat", "A dog"), None),
        ("A cat", ("a cat", "a dog"), None),
        ("A dog is sleeping", ("cat", "dog", "cow"), None),
        ("A cat", ("cat", "dog"), "A"),
        ("A. a dog", ("a cat", "a dog"), "A"),
        ("A is right", ("cat", "dog"), "A"),
        ("B. a dog", ("a cat", "a dog"), "B"),
    ],
)
def test_an_article_is_no_letter(answer: str, options: tuple[str, ...], letter: str | None) -> None:
    """The text of another option would be rewarded as A."""
    if letter is None:
        with pytest.raises(Unreadable):
            read_letter(answer, len(options), options)
    else:
        assert read_letter(answer, len(options), options) == letter
