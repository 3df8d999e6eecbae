"""The strict definition, sentence by sentence."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rewards import Score, score_response

TRUTH = {"interval": [12.5, 17]}
BOXES = [[0.1, 0.1, 0.5, 0.5]] * 8


def thought(answer: str, glue: str | None = None) -> str:
    evidence = "" if glue is None else f"\n<glue>{glue}</glue>"
    return f"<think>Looking.</think>\n<answer>{answer}</answer>{evidence}"


def ground(answer: str, target: dict[str, Any] = TRUTH, duration: float | None = 60.0) -> Score:
    return score_response("temporal_grounding", thought(answer), target, duration=duration)


def evidence(glue: str, annotated: list[list[float]], duration: float | None = 30.0) -> Score:
    target = {"answer": "C", "intervals": annotated}
    return score_response("grounded_qa", thought("C", glue), target, duration=duration)


def track(answer: str, annotated: list[list[float]] = BOXES) -> Score:
    return score_response("tracking", thought(answer), {"boxes": annotated})


@pytest.mark.parametrize(
    "answer",
    [
        "12.5 to 17",
        "12.5s to 17 s",
        "12.5 seconds to 17 seconds",
        "12.5 - 17",
        "12.5-17",
        "12.5 -17",
        "12.5–17",
        "from 12.5 to 17",
        "12.5 and 17",
        "[12.5, 17]",
        "[12.5,17]",
        "(12.5, 17)",
        "0:12.5 to 0:17",
        "00:12.5 - 00:17",
        "0:00:12.5 to 0:00:17.0",
        "12.5to17",
        "12.5 to17",
        "  12.5\n\tto \r\n 17  ",
        "From 12.5 TO 17 Seconds.",
        "The person sits down from 12.5 to 17.",
        "In 2 of the shots: 12.5 to 17",
        "[12.5 to 17]",
        "[(12.5, 17)]",
        "<timestep>12.5 to 17</timestep>",
        "1.25e1 to 170E-1",
        "12.50000 to 17.",
        "+12.5 to +17",
        "0" * 28 + "12.5 to 17",
    ],
)
def test_every_spelling_of_an_interval_is_read(answer: str) -> None:
    score = ground(answer)
    assert score.rewards == {"format": 1.0, "iou": 1.0}
    assert score.prediction == {"interval": (12.5, 17.0)}
    assert score.total == 2.0
    assert score.parsed
    assert score.reason is None


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        ("0:12 to 0:17.5", (12.0, 17.5)),
        ("00:12 to 00:17", (12.0, 17.0)),
        ("1:02:03 to 1:02:10", (3723.0, 3730.0)),
        ("75:30 to 76:00", (4530.0, 4560.0)),
        ("5 minutes to 6 minutes", (300.0, 360.0)),
        ("-3 to 5", (-3.0, 5.0)),
        ("-0:03 to 5", (-3.0, 5.0)),
        ("-3--1", (-3.0, -1.0)),
        (".5 to 3", (0.5, 3.0)),
        ("30 to 10", (30.0, 10.0)),
    ],
)
def test_interval_as_read(answer: str, seconds: tuple[float, float]) -> None:
    score = ground(answer)
    assert score.prediction == {"interval": seconds}
    assert score.parsed


@pytest.mark.parametrize(
    "answer",
    [
        "12.5",
        "12.5 17",
        "12.5, 17",
        "12.5 until 17",
        "12.5 to 17 to 20",
        "12.5 to 17 and 20 to 25",
        "12.5 to 17, 12.5 to 17",
        "[(5, 7), (8, 10)]",
        "[12.5, 17, 20]",
        "[12.5, 17",
        "[12.5, 17)",
        "12,5 to 17",
        "1.2.5 to 17",
        "1:5 to 1:10",
        "0:12 to 0:75",
        "1:02:03:04 to 2:00:00:00",
        "0x5 to 17",
        "nan to 17",
        "12.5 to inf",
        "١٢ to ١٧",
        "1٢ to 17",
        "−3 to 5",  # noqa: RUF001 - a minus sign that is not ASCII
        "0" * 29 + "12.5 to 17",
        "12.5 to 17." + "0" * 30,
        "somewhere",
    ],
)
def test_what_is_not_exactly_one_interval_does_not_parse(answer: str) -> None:
    score = ground(answer)
    assert score.rewards == {"format": 0.0, "iou": 0.0}
    assert score.prediction is None
    assert score.reason


@pytest.mark.parametrize(
    ("answer", "annotated", "duration", "iou"),
    [
        ("10 to 20", [12, 18], 60.0, 0.6),
        ("0 to 5", [10, 20], 60.0, 0.0),
        ("5 to 10", [10, 20], 60.0, 0.0),
        ("-3 to 5", [0, 10], 60.0, 0.5),
        ("-5 to 5", [0, 5], None, 0.5),
        ("5 to 99", [5, 10], 10.0, 1.0),
        ("5 to 99", [5, 12], 10.0, 5 / 7),  # the annotation is not clipped
        ("30 to 10", [10, 30], 60.0, 0.0),
        ("10 to 10", [10, 10], 60.0, 0.0),
        ("70 to 80", [50, 60], 60.0, 0.0),
        ("-9 to -2", [0, 5], 60.0, 0.0),
        ("5 to 1e999", [5, 60], 60.0, 0.0),
        ("-1e999 to 60", [0, 60], 60.0, 0.0),
        ("5 to 10", [10, 5], 60.0, 0.0),
        ("-1e308 to 1e308", [-1e308, 1e308], None, 0.0),
    ],
)
def test_interval_iou_leaves_the_format_alone(
    answer: str, annotated: list[float], duration: float | None, iou: float
) -> None:
    score = ground(answer, {"interval": annotated}, duration)
    assert score.rewards == {"format": 1.0, "iou": pytest.approx(iou)}
    assert (score.reason is None) == (iou > 0)


def test_an_infinite_interval_is_not_reported() -> None:
    assert ground("5 to 1e999").prediction is None


GOOD = "<think>x</think> <answer>12.5 to 17</answer>"


@pytest.mark.parametrize(
    "response",
    [
        GOOD,
        f"\n {GOOD}\t\n",
        "<think>x</think><answer>12.5 to 17</answer>",
        "<think>x</think>\n\n\n<answer>\n12.5 to 17\n</answer>",
        "<think>at <timestep>12.5</timestep> & 3 < 4</think> <answer>12.5 to 17</answer>",
    ],
)
def test_the_layout(response: str) -> None:
    assert score_response("temporal_grounding", response, TRUTH).rewards == {"format": 1.0, "iou": 1.0}


@pytest.mark.parametrize(
    ("response", "iou"),
    [
        ("<answer>12.5 to 17</answer>", 1.0),
        ("12.5 to 17", 0.0),
        ("", 0.0),
        ("<think></think><answer>12.5 to 17</answer>", 1.0),
        ("<think> \n</think><answer>12.5 to 17</answer>", 1.0),
        ("<think>x</think><answer></answer>", 0.0),
        (f"Sure! {GOOD}", 1.0),
        (f"{GOOD} Done.", 1.0),
        (f"{GOOD}\x00", 1.0),
        ("<think>x</think>, <answer>12.5 to 17</answer>", 1.0),
        ("<answer>12.5 to 17</answer><think>x</think>", 1.0),
        ("<think>x</think><think>x</think><answer>12.5 to 17</answer>", 1.0),
        (f"{GOOD}<answer>12.5 to 17</answer>", 0.0),
        (f"{GOOD}{GOOD}", 0.0),
        ("<think>x</think><answer><answer>12.5 to 17</answer></answer>", 0.0),
        ("<think>x</think><answer>12.5 to 17</answer></answer>", 0.0),
        ("<think>the <answer> tag</think><answer>12.5 to 17</answer>", 0.0),
        ("<think><think>x</think></think><answer>12.5 to 17</answer>", 1.0),
        ("<think>x<answer>12.5 to 17</answer></think>", 1.0),
        ("<think>x</think><answer>12.5 to 17", 0.0),
        ("<think>x</think></answer>12.5 to 17<answer>", 0.0),
        ("<think>x</think><Answer>12.5 to 17</Answer>", 0.0),
        (f"{GOOD}<glue>[(1, 2)]</glue>", 1.0),
        ("<think>a <glue> here</think><answer>12.5 to 17</answer>", 1.0),
    ],
)
def test_a_wrong_layout_costs_the_format_alone(response: str, iou: float) -> None:
    score = score_response("temporal_grounding", response, TRUTH, duration=60.0)
    assert score.rewards == {"format": 0.0, "iou": iou}
    assert not score.parsed
    assert score.reason


def test_the_direct_template_has_no_think_block() -> None:
    direct = "<answer>12.5 to 17</answer>"
    assert score_response("temporal_grounding", direct, TRUTH, template="direct").total == 2.0
    assert score_response("temporal_grounding", GOOD, TRUTH, template="direct").rewards == {
        "format": 0.0,
        "iou": 1.0,
    }


@pytest.mark.parametrize(
    ("glue", "annotated", "iou"),
    [
        ("[(5, 10)]", [[5, 10]], 1.0),
        ("[[5, 10]]", [[5, 10]], 1.0),
        ("((5, 10), (12, 15))", [[5, 10], [12, 15]], 1.0),
        (" [ ( 5 s , 10 s ) ,\n [0:12, 0:15] ] ", [[5, 10], [12, 15]], 1.0),
        ("[(5, 10),]", [[5, 10]], 1.0),
        ("[(0, 30)]", [[5, 10]], 1 / 6),
        ("[(5, 7), (8, 10)]", [[5, 10]], 0.8),
        ("[(5, 8), (6, 10)]", [[5, 10]], 1.0),
        ("[(12, 15), (5, 10), (20, 22)]", [[5, 10]], 0.5),
        ("[(-5, 5)]", [[0, 5]], 1.0),
        ("[(20, 90)]", [[20, 30]], 1.0),
        ("[(40, 90)]", [[20, 30]], 0.0),
        ("[(7, 7)]", [[5, 10]], 0.0),
        ("[]", [[5, 10]], 0.0),
        ("[]", [], 1.0),
        ("[(5, 10)]", [], 0.0),
    ],
)
def test_evidence_iou(glue: str, annotated: list[list[float]], iou: float) -> None:
    rewards = evidence(glue, annotated).rewards
    assert rewards == {"format": 1.0, "accuracy": 1.0, "evidence_iou": pytest.approx(iou)}


@pytest.mark.parametrize(
    "glue",
    [
        "",
        "(5, 10)",
        "(5, 10), (12, 15)",
        "[(10, 5)]",
        "[(5, 10), (15, 12)]",
        "[(1, 2), (3, 4), (5, 6), (7, 8)]",
        "[(5, 10, 12)]",
        "[(5, 1e999)]",
        "[(5, 10]]",
        "[(5, 10)] I think",
        "[(5 to 10)]",
        "5 to 10",
        "[(5, " + "1" * 33 + ")]",
    ],
)
def test_evidence_that_does_not_parse(glue: str) -> None:
    assert evidence(glue, [[5, 10]]).rewards == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0}


def test_answer_and_evidence_are_read_from_their_own_blocks() -> None:
    target = {"answer": "C", "intervals": [[5, 10]]}
    swapped = "<think>x</think><glue>[(5, 10)]</glue><answer>C</answer>"
    rewards = score_response("grounded_qa", swapped, target).rewards
    assert rewards == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 1.0}
    twice = f"{thought('C', '[(5, 10)]')}<glue>[(5, 10)]</glue>"
    rewards = score_response("grounded_qa", twice, target).rewards
    assert rewards == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0}
    unsure = score_response("grounded_qa", thought("B or C", "[(5, 10)]"), target)
    assert unsure.rewards == {"format": 0.0, "accuracy": 0.0, "evidence_iou": 1.0}
    assert unsure.prediction == {"intervals": ((5.0, 10.0),)}


@pytest.mark.parametrize(
    ("box", "iou"),
    [
        ([0.1, 0.1, 0.5, 0.5], 1.0),
        ([0, 0, 1, 1], 0.16),
        ([-3, -3, 2, 9], 0.16),
        ([0.5, 0.5, 0.1, 0.1], 0.0),
        ([0.5, 0.1, 0.1, 0.5], 0.0),
        ([0.1, 0.1, 0.1, 0.5], 0.0),
        ([120, 80, 300, 200], 0.0),
        ([0.6, 0.6, 0.9, 0.9], 0.0),
    ],
)
def test_tracking_iou(box: list[float], iou: float) -> None:
    score = track(str([box] * 8))
    assert score.rewards == {"format": 1.0, "iou": pytest.approx(iou)}
    assert (score.reason is None) == (iou > 0)


def test_the_given_first_box_does_not_count() -> None:
    away = [0.6, 0.6, 0.9, 0.9]
    assert track(str([away] + BOXES[1:])).rewards["iou"] == 1.0
    assert track(str([BOXES[0]] + [away] * 7)).rewards["iou"] == 0.0
    assert track(str([away] * 4 + BOXES[4:])).rewards["iou"] == pytest.approx(4 / 7)
    assert track(str([away] * 4 + BOXES[4:])).rewards["format"] == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        str(BOXES[:7]),
        str(BOXES + BOXES[:1]),
        "[]",
        "[[]]",
        str(BOXES[0]),
        str([[0.1, 0.2, 0.3]] * 8),
        str(BOXES)[:-1],
        f"The boxes: {BOXES}",
        str(BOXES).replace("0.5]", "nan]"),
        str(BOXES).replace("0.5]", "1e999]"),
        str(BOXES).replace("0.5]", "0.5" + "0" * 30 + "]"),
        str(BOXES).replace("0.5]", "'0.5']"),
        str(BOXES).replace(",", " "),
        str(BOXES).replace("1", "١"),
    ],
)
def test_boxes_that_do_not_parse(answer: str) -> None:
    assert track(answer).rewards == {"format": 0.0, "iou": 0.0}


@pytest.mark.parametrize(
    "answer",
    [
        str(BOXES).replace(" ", ""),
        str(BOXES).replace(",", " ,\n"),
        str(BOXES).replace("0.5", "5e-1"),
        str(BOXES).replace("0.1", ".1"),
    ],
)
def test_spellings_of_boxes(answer: str) -> None:
    assert track(answer).total == 2.0


@pytest.mark.parametrize(
    ("task", "target"),
    [
        ("temporal_grounding", {}),
        ("temporal_grounding", {"interval": None}),
        ("temporal_grounding", {"interval": [5]}),
        ("temporal_grounding", {"interval": ["5", "10"]}),
        ("temporal_grounding", {"interval": [5, math.nan]}),
        ("temporal_grounding", {"interval": [5, 10**400]}),
        ("temporal_grounding", {"interval": [False, True]}),
        ("temporal_grounding", None),
        ("temporal_grounding", [12.5, 17]),
        ("tracking", {"boxes": []}),
        ("tracking", {"boxes": [[0, 0, 1, 1]]}),
        ("tracking", {"boxes": [[0, 0, 1]] * 8}),
        ("tracking", {"boxes": "x" * 8}),
        ("tracking", {"boxes": [[0, 0, 1, 1]] * 8, "absent": [False] + [True] * 7}),
        ("tracking", {"boxes": [[0, 0, 1, 1]] * 8, "absent": [False] * 7}),
        ("tracking", {"boxes": [[0, 0, 1, 1]] * 8, "absent": [0] * 8}),
        ("multiple_choice", {"answer": 2}),
        ("multiple_choice", {"answer": ""}),
        ("multiple_choice", {"answer": "E"}),
        ("grounded_qa", {"answer": "C"}),
        ("grounded_qa", {"answer": "C", "intervals": [5, 10]}),
        ("grounded_qa", {"intervals": [[5, 10]]}),
    ],
)
@pytest.mark.parametrize("mode", ["strict", "paper"])
def test_an_odd_target_scores_0_with_a_reason(task: str, target: Any, mode: Any) -> None:
    score = score_response(task, thought("C", "[]"), target, mode=mode, num_options=4)
    assert score.total == 0.0
    assert set(score.rewards.values()) == {0.0}
    assert "target" in str(score.reason)


@pytest.mark.parametrize("duration", [0, -1.0, math.nan, math.inf, True, "30"])
def test_an_odd_duration_scores_0_with_a_reason(duration: Any) -> None:
    score = ground("12.5 to 17", duration=duration)
    assert score.total == 0.0
    assert "duration" in str(score.reason)


def test_mistakes_of_the_program_are_errors() -> None:
    with pytest.raises(ValueError, match="unknown task 'dancing'; known: temporal_grounding"):
        score_response("dancing", "", {})
    with pytest.raises(ValueError, match="unknown mode"):
        score_response("tracking", "", {}, mode="loose")  # type: ignore[arg-type]
