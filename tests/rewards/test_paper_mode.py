"""Parity with the released reward functions, measured on the originals."""

from __future__ import annotations

from typing import Any

import pytest

from rewards import Template, score_response

BOX = [0.1, 0.1, 0.5, 0.5]


def paper(
    task: str, response: str, target: dict[str, Any], template: Template = "thinking"
) -> dict[str, float]:
    return score_response(task, response, target, duration=30.0, mode="paper", template=template).rewards


def ground(answer: str, annotated: list[float]) -> dict[str, float]:
    return paper("temporal_grounding", f"<think>x</think><answer>{answer}</answer>", {"interval": annotated})


def glue(content: str, annotated: list[list[float]]) -> dict[str, float]:
    response = f"<think>x</think>\n<answer>C</answer>\n<glue>{content}</glue>"
    return paper("grounded_qa", response, {"answer": "C", "intervals": annotated})


def track(answer: str) -> dict[str, float]:
    return paper("tracking", f"<think>x</think><answer>{answer}</answer>", {"boxes": [BOX] * 8})


def choose(answer: str, right: str = "C") -> float:
    return paper("multiple_choice", f"<answer>{answer}</answer>", {"answer": right})["accuracy"]


@pytest.mark.parametrize(
    ("content", "annotated", "iou"),
    [
        ("[(5, 10)]", [[5, 10]], 1.0),
        ("[(0, 30)]", [[5, 10]], 1 / 6),
        ("[(5, 7), (8, 10)]", [[5, 10]], 0.8),
        ("[(5, 8), (6, 10)]", [[5, 10]], 1.0),
        ("[]", [[5, 10]], 0.0),
        ("[(12, 15)]", [[5, 10]], 0.0),
        ("[]", [], 1.0),
        ("[(1, 1)]", [], 1.0),
        ("[(5,10)]", [[5, 10]], 1.0),
        ("[(5, 10),]", [[5, 10]], 1.0),
        ("[(5, 7),\n(8, 10)]", [[5, 10]], 0.8),
        ("[(5, 10)]\n", [[5, 10]], 1.0),
        ("[(5, 99)]", [[5, 99]], 1.0),
    ],
)
def test_evidence_lists_that_are_accepted(content: str, annotated: list[list[float]], iou: float) -> None:
    rewards = glue(content, annotated)
    assert rewards == {"format": 1.0, "accuracy": 1.0, "evidence_iou": pytest.approx(iou)}


@pytest.mark.parametrize(
    "content",
    [
        " [(5, 10)]",
        "[(5, 10)] ",
        "[[5, 10]]",
        "(5, 10)",
        "[(-5, 10)]",
        "[(5., 10)]",
        "[(.5, 10)]",
        "[(5e0, 10)]",
        "[(05, 10)]",
        "[(5s, 10s)]",
        "[( 5, 10)]",
        "[(5 , 10)]",
        "[(5, 7) ,(8, 10)]",
        "[(10, 5)]",
        "[(5, 10), (20, 15)]",
        "",
    ],
)
def test_evidence_lists_that_are_rejected(content: str) -> None:
    assert glue(content, [[5, 10]]) == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0}


def test_the_first_glue_block_counts() -> None:
    target = {"answer": "C", "intervals": [[5, 10]]}
    two = "<think>x</think><answer>C</answer><glue>[(20, 25)]</glue><glue>[(5, 10)]</glue>"
    assert paper("grounded_qa", two, target) == {"format": 1.0, "accuracy": 1.0, "evidence_iou": 0.0}
    mentioned = "<think>a <glue> tag</think><answer>C</answer><glue>[(5, 10)]</glue>"
    assert paper("grounded_qa", mentioned, target) == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0}


@pytest.mark.parametrize(
    ("answer", "annotated", "iou"),
    [
        ("10 to 20", [12, 18], 0.6),
        ("30 to 10", [12, 20], 0.0),
        ("0 to 5", [10, 20], 0.0),
        ("10 to 10", [10, 10], 1.0),  # the single-task script; the joint one raises
        ("10 to 10", [12, 18], 0.0),
        ("10 AND 20", [12, 18], 0.6),
        ("0 to 1, or 10 to 20", [12, 18], 0.6),
        ("10 to 99", [10, 99], 1.0),  # nothing is clipped
        ("12.54s to 17.83s", [12.54, 17.83], 0.0),
        ("12.54 seconds to 17.83 seconds", [12.54, 17.83], 0.0),
        ("12.54-17.83", [12.54, 17.83], 0.0),
        ("12.54  to 17.83", [12.54, 17.83], 0.0),
        ("12.54 to17.83", [12.54, 17.83], 0.0),
        ("-3 to 5", [3, 5], 1.0),
        (".5 to 9", [5, 9], 1.0),
        ("1:02 to 1:10", [1, 2], 0.0),
        ("00:12 to 00:17", [0, 12], 0.0),
        ("1e1 to 2e1", [1, 2], 1.0),
        ("5 to 10 to 15", [5, 10], 1.0),
        ("1.2.3 to 5", [2.3, 5], 1.0),
        ("9" * 400 + " to " + "9" * 401, [0, 5], 0.0),
    ],
)
def test_temporal_grounding(answer: str, annotated: list[float], iou: float) -> None:
    assert ground(answer, annotated) == {"format": 1.0, "iou": pytest.approx(iou)}


def test_the_last_answer_block_counts() -> None:
    two = "<answer>0 to 5</answer><answer>10 to 20</answer><answer>0 to 5"
    assert paper("temporal_grounding", two, {"interval": [10, 20]})["iou"] == 1.0
    assert paper("temporal_grounding", "10 to 20", {"interval": [10, 20]})["iou"] == 0.0


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("<think>a</think> <answer>b</answer>", 1.0),
        ("<think></think><answer></answer>", 1.0),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 1.0),
        ("<think>a</think><think>a</think><answer>b</answer>", 1.0),
        ("<think>a</think><answer>b</answer><think>a</think><answer>b</answer>", 1.0),
        ("<think>a</think>x<answer>b</answer>", 0.0),
        ("<think>a</think><answer>b</answer> end", 0.0),
        ("<think>a</think><timestep>1</timestep><answer>b</answer>", 0.0),
        ("<answer>b</answer>", 0.0),
        ("<think>a</think><answer>", 0.0),
        ("<think></answer>", 0.0),
    ],
)
def test_the_format_of_grounding_ignores_the_content(response: str, expected: float) -> None:
    assert paper("temporal_grounding", response, {"interval": [5, 10]})["format"] == expected


def test_the_direct_formats() -> None:
    direct = "<answer>5 to 10</answer>"
    assert paper("temporal_grounding", direct, {"interval": [5, 10]}, template="direct")["format"] == 1.0
    target = {"answer": "C", "intervals": [[5, 10]]}
    grounded = "<answer>C</answer> <glue>[(5, 10)]</glue>"
    assert paper("grounded_qa", grounded, target, template="direct")["format"] == 1.0
    assert paper("grounded_qa", grounded, target)["format"] == 0.0


@pytest.mark.parametrize("answer", ["C", "(C)", "C. cat", "The answer is C", "Could be B or C"])
def test_letters_that_count(answer: str) -> None:
    assert choose(answer) == 1.0


@pytest.mark.parametrize("answer", ["c", "c)", "Answer: C", "Best answer: C", "A cat, so C", "", "H"])
def test_letters_that_do_not(answer: str) -> None:
    assert choose(answer) == 0.0


def test_what_the_letter_extraction_misreads() -> None:
    assert choose("Answer: C", right="A") == 1.0
    assert choose("Best answer: C", right="B") == 1.0


def test_plain_questions_never_get_the_format() -> None:
    answer = "<think>x</think><answer>C</answer>"
    assert paper("multiple_choice", answer, {"answer": "C"}) == {"format": 0.0, "accuracy": 1.0}
    assert paper("multiple_choice", f"{answer}<glue>[]</glue>", {"answer": "C"})["format"] == 1.0


def test_quality_wants_a_think_block_in_the_direct_template_too() -> None:
    target = {"label": "low quality"}
    assert paper("quality", "<answer>Low quality </answer>", target, "direct") == {
        "format": 0.0,
        "accuracy": 1.0,
    }
    thought = "<think></think> <answer>low</answer>"
    assert paper("quality", thought, target, "direct") == {"format": 1.0, "accuracy": 0.0}


@pytest.mark.parametrize(
    ("box", "iou"),
    [
        (BOX, 1.0),
        ([0, 0, 1, 1], 0.16),
        ([-0.1, -0.1, 0.5, 0.5], 0.16 / 0.36),
        ([0.5, 0.5, 0.1, 0.1], 0.0),
        ([0, 0, 0, 0], 0.0),
        ([100, 100, 300, 300], 0.0),
        (["a", None, True, 1], 0.0),
        ([0.1, 0.1, 0.5, "b"], 0.0),
    ],
)
def test_tracking(box: list[Any], iou: float) -> None:
    assert track(str([box] * 8)) == {"format": 1.0, "iou": pytest.approx(iou)}


def test_tracking_counts_the_first_box() -> None:
    away = [0.6, 0.6, 0.9, 0.9]
    assert track(str([BOX] + [away] * 7))["iou"] == pytest.approx(0.125)


@pytest.mark.parametrize(
    "answer",
    [
        str([BOX] * 7),
        str([BOX] * 9),
        str([tuple(BOX)] * 8),
        str(([BOX] * 8,)),
        str([BOX[:3]] * 8),
        "[[05, 1, 2, 3]]",
        "x",
    ],
)
def test_tracking_lists_that_are_rejected(answer: str) -> None:
    assert track(answer) == {"format": 0.0, "iou": 0.0}


def test_tracking_newlines_and_trailing_commas_are_fine() -> None:
    assert track(" " + str([BOX] * 8).replace("],", ",],\n")) == {"format": 1.0, "iou": 1.0}


def test_an_annotation_of_another_count_scores_0() -> None:
    response = f"<think>x</think><answer>{[BOX] * 8}</answer>"
    assert paper("tracking", response, {"boxes": [BOX] * 7}) == {"format": 1.0, "iou": 0.0}


def test_an_infinite_coordinate_scores_0() -> None:
    assert track(str([BOX] * 8).replace("0.5]", "1e999]")) == {"format": 1.0, "iou": 0.0}
