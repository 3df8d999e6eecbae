"""Numbers, texts, labels and single boxes: what is read, and what it is worth."""

from __future__ import annotations

from typing import Any

import pytest

from rewards import Score, score_response
from rewards.numbers import read_number
from rewards.result import Unreadable

TEXT = "no entry after dark"


def answer(task: str, text: str, target: dict[str, Any], **more: Any) -> Score:
    return score_response(task, f"<answer>{text}</answer>", target, template="direct", **more)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", 42.0),
        ("-3.5", -3.5),
        ("+3", 3.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1,250", 1250.0),
        ("1,234,567.89", 1234567.89),
        ("$4.20", 4.2),
        ("12cm", 12.0),
        ("about 12 cm", 12.0),
        ("The answer is 7.", 7.0),
        (" (7)\n", 7.0),
    ],
)
def test_every_spelling_of_a_number_is_read(text: str, number: float) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seven",
        "5 to 6",
        "3/4",
        "1:02",
        "1.2.3",
        "1,25",
        "1,2345",
        "2024-01-02",
        "x5",
        "12%",
        "3 cats",
        "1e999",
        "7" * 33,
        "−5",  # noqa: RUF001 - a minus sign that is not ASCII
        "١٢",
    ],
)
def test_what_is_not_exactly_one_number_does_not_parse(text: str) -> None:
    with pytest.raises(Unreadable):
        read_number(text)


@pytest.mark.parametrize(
    ("text", "right", "accuracy"),
    [
        ("3", 3, 1.0),
        ("3.00", 3, 1.0),
        ("3.14159", 3.14, 1.0),
        ("3.15", 3.14, 0.0),
        ("-3", 3, 0.0),
        ("0.001", 0, 1.0),
    ],
)
def test_numbers_agree_to_two_decimals(text: str, right: float, accuracy: float) -> None:
    score = answer("numerical", text, {"number": right})
    assert score.rewards == {"format": 1.0, "accuracy": accuracy}


@pytest.mark.parametrize(
    ("text", "right", "accuracy"),
    [
        ("100", 100, 1.0),
        ("75", 100, 0.75),
        ("125", 100, 0.75),
        ("-75", -100, 0.75),
        ("300", 100, 0.0),
        ("-100", 100, 0.0),
        ("0", 0, 1.0),
        ("0.1", 0, 0.0),
        ("5e-324", 1e308, 0.0),
        ("1e308", -1e308, 0.0),
    ],
)
def test_an_estimate_is_worth_one_minus_its_relative_error(text: str, right: float, accuracy: float) -> None:
    score = answer("regression", text, {"number": right})
    assert score.rewards == {"format": 1.0, "relative_accuracy": pytest.approx(accuracy)}


@pytest.mark.parametrize(
    ("text", "accuracy"),
    [
        (TEXT, 1.0),
        ("  no entry\n after  dark ", 1.0),
        ("no entry before dark", 0.75),
        ("no entry after", 0.75),
        ("No Entry after dark", 0.5),
        ("no entry after dark at all", 0.5),
        ("something else", 0.0),
        (f"{TEXT} {TEXT}", 0.0),
    ],
)
def test_written_text_is_worth_one_minus_its_word_errors(text: str, accuracy: float) -> None:
    score = answer("ocr", text, {"text": TEXT})
    assert score.rewards == {"format": 1.0, "word_accuracy": pytest.approx(accuracy)}


@pytest.mark.parametrize(
    ("text", "written", "accuracy"),
    [
        (f"**{TEXT}**", TEXT, 1.0),
        ("no **entry** after _dark_", TEXT, 1.0),
        ("```\nno entry\nafter dark\n```", TEXT, 1.0),
        ("`no entry` after dark", TEXT, 1.0),
        (f"**{TEXT}", TEXT, 1.0),
        ("**no entry**!", "no entry!", 1.0),
        # Marks that are written there, and words that are no marks.
        ("*SALE* 5*3", "*SALE* 5*3", 1.0),
        ("SALE 5*3", "*SALE* 5*3", 0.5),
        ("5*3*2", "532", 0.0),
        ("snake_case_name", "snakecasename", 0.0),
        ("Q1: no", "no", 0.0),
        ("<b>no</b>", "no", 0.0),
        ("**exit**", "entry", 0.0),
        ("**", "entry", 0.0),
    ],
)
def test_marks_of_markdown_around_words_cost_nothing(text: str, written: str, accuracy: float) -> None:
    score = answer("ocr", text, {"text": written})
    assert (score.rewards["format"], score.rewards["word_accuracy"]) == (1.0, pytest.approx(accuracy))


@pytest.mark.parametrize(
    ("text", "rouge"),
    [
        ("a dog barks", 1.0),
        ("A DOG, barking!", 1.0),
        # One of three words, none of two pairs: F1 of 1/3, 0 and 1/3.
        ("a cat sleeps", 2 / 9),
        # Precision 1/2, 1/5 and 1/2 at recall 1, 1/2 and 1.
        ("a quick brown dog loudly barks", (2 / 3 + 0 + 2 / 3) / 3),
        ("nothing", 0.0),
    ],
)
def test_free_text_is_worth_its_mean_rouge(text: str, rouge: float) -> None:
    score = answer("free_form", text, {"text": "a dog barks"})
    assert score.rewards == {"format": 1.0, "rouge": pytest.approx(rouge)}


@pytest.mark.parametrize(
    ("text", "parsed", "accuracy"),
    [
        ("high quality", True, 1.0),
        ("  High Quality\n", True, 1.0),
        ("low quality", True, 0.0),
        ("**High quality**", True, 1.0),
        ('"Ｈigh quality"', True, 1.0),
        ("high", False, 0.0),
        ("high quality.", False, 0.0),
        ("", False, 0.0),
    ],
)
def test_labels_are_compared_without_case_and_blanks(text: str, parsed: bool, accuracy: float) -> None:
    options = ("Low quality", "High quality")
    score = answer("quality", text, {"label": "high quality"}, options=options)
    assert (score.parsed, score.rewards["accuracy"]) == (parsed, accuracy)


def test_without_options_any_text_is_a_label() -> None:
    assert answer("quality", "so-so", {"label": "good"}).rewards == {"format": 1.0, "accuracy": 0.0}
    outside = answer("quality", "good", {"label": "good"}, options=("bad", "worse"))
    assert outside.total == 0.0 and "not one of" in str(outside.reason)


@pytest.mark.parametrize(
    ("text", "right", "accuracy"), [(" Low Quality ", "low quality", 1.0), ("low", "low quality", 0.0)]
)
def test_labels_as_the_released_function_has_them(text: str, right: str, accuracy: float) -> None:
    response = f"<think></think><answer>{text}</answer>"
    assert score_response("quality", response, {"label": right}, mode="paper").rewards == {
        "format": 1.0,
        "accuracy": accuracy,
    }


@pytest.mark.parametrize(
    ("text", "parsed", "iou"),
    [
        ("[0.1, 0.1, 0.5, 0.5]", True, 1.0),
        (" [[.1,.1,.5,.5]]\n", True, 1.0),
        ("[0, 0, 1, 1]", True, 0.16),
        ("[-3, -3, 2, 9]", True, 0.16),
        ("[0.5, 0.5, 0.1, 0.1]", True, 0.0),
        ("[0.1, 0.1, 0.5]", False, 0.0),
        ("[[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]]", False, 0.0),
        ("[0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]", False, 0.0),
        ("0.1, 0.1, 0.5, 0.5", False, 0.0),
        ("the box [0.1, 0.1, 0.5, 0.5]", False, 0.0),
        ("[0.1, 0.1, 0.5, nan]", False, 0.0),
    ],
)
def test_one_box(text: str, parsed: bool, iou: float) -> None:
    score = answer("spatial_grounding", text, {"box": [0.1, 0.1, 0.5, 0.5]})
    assert (score.parsed, score.rewards["iou"]) == (parsed, pytest.approx(iou))


def test_reasons_write_numbers_in_full() -> None:
    score = score_response("numerical", "<answer>1000000</answer>", {"number": 1000001}, template="direct")
    assert score.reason == "1000000 is wrong, 1000001 is right"


def test_an_annotation_that_covers_nothing_is_said_to() -> None:
    target = {"interval": [5, 2]}
    score = score_response("temporal_grounding", "<answer>3 to 4</answer>", target, template="direct")
    assert score.reason == "the annotated 5 to 2 s has no length"
