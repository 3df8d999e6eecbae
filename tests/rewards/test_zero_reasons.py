"""Why a component is 0: of every way to miss, in words that name it."""

from __future__ import annotations

from typing import Any

import pytest

from rewards import Mode, Scorer, Template

FRAME = [0.2, 0.2, 0.5, 0.5]
TARGETS: dict[str, dict[str, Any]] = {
    "temporal_grounding": {"interval": [4.5, 9.0]},
    "tracking": {"boxes": [FRAME] * 8},
    "spatial_grounding": {"box": FRAME},
    "multiple_choice": {"answer": "A"},
    "grounded_qa": {"answer": "A", "intervals": [[4.5, 9.0], [12.0, 13.0]]},
    "numerical": {"number": 4},
    "regression": {"number": 4},
    "quality": {"label": "good"},
}


def reason(task: str, answer: str, glue: str = "", mode: Mode = "strict", **options: Any) -> str:
    evidence = f"<glue>{glue}</glue>" if glue else ""
    response = f"<think>-</think><answer>{answer}</answer>{evidence}"
    labels = ("good", "bad", "worse")
    score = Scorer(task, mode, options=options).score(response, TARGETS[task], duration=20.0, options=labels)
    assert 0.0 in score.rewards.values()
    return score.reason or ""


@pytest.mark.parametrize(
    ("task", "answer", "why"),
    [
        ("temporal_grounding", "10 to 12", "no overlap with the annotated 4.5 to 9 s"),
        ("temporal_grounding", "9 to 5", "no named interval ends after it starts"),
        ("temporal_grounding", "30 to 40", "what is named lies outside the clip of 20 s"),
        ("temporal_grounding", "1 to 1e999", "an interval is infinite"),
        ("spatial_grounding", "[0.6, 0.6, 0.9, 0.9]", "no overlap with what is annotated"),
        ("spatial_grounding", "[0.5, 0.5, 0.2, 0.2]", "no box has its right lower corner after its left upper one"),
        ("spatial_grounding", "[1.5, 1.5, 2, 2]", "no box reaches into the frame, 0 to 1"),
        ("multiple_choice", "C", "C is wrong, A is right"),
        ("numerical", "5", "5 is wrong, 4 is right"),
        ("regression", "9", "9 is off by as much as the annotated 4, or more"),
        ("quality", "bad", "bad is wrong, good is right"),
    ],
)  # fmt: skip
def test_a_plain_miss_says_what_it_missed(task: str, answer: str, why: str) -> None:
    assert reason(task, answer) == why


@pytest.mark.parametrize(
    ("task", "answer", "quoted"),
    [
        ("temporal_grounding", "It is from 4 to 9 apples", "9 apples"),
        ("temporal_grounding", "not 4 to 9", "not 4"),
        ("temporal_grounding", "it is 4,5 to 9", "4,5"),
        ("temporal_grounding", "4 to 9 %", "%"),
        ("temporal_grounding", "4 to 9 (in minutes)", "minutes"),
        ("numerical", "I count **12** cats; 4 dogs", "12 cats; 4 dogs"),
        ("numerical", "4 and a half", "4 and a half"),
    ],
)
def test_a_number_that_is_refused_is_quoted_with_what_stands_beside_it(
    task: str, answer: str, quoted: str
) -> None:
    said = "what stands beside a number may change its value or kind"
    assert reason(task, answer).startswith(f"{said}: “{quoted}")


@pytest.mark.parametrize(
    ("template", "response", "fits"),
    [
        ("thinking", "<answer>5 to 9</answer>", "direct"),
        ("direct", "<think>-</think><answer>5 to 9</answer>", "thinking"),
        ("thinking", "<answer>5 to 9</answer> <think>-</think>", "answer_first"),
        ("thinking", "<answer>5 to 9</answer><answer>5 to 9</answer>", None),
        ("thinking", "<think>-</think>5 to 9", None),
    ],
)
def test_tags_of_another_template_are_known_as_such(
    template: Template, response: str, fits: str | None
) -> None:
    score = Scorer("temporal_grounding", template=template).score(response, {"interval": [5, 9]})
    assert score.reason is not None and score.reason.startswith("not exactly one ")
    assert ("the tags found fit the template" in score.reason) == bool(fits)
    assert not fits or f"the tags found fit the template {fits}" in score.reason


def test_boxes_that_do_not_count_excuse_nothing() -> None:
    boxes = [FRAME, *[[0.6, 0.6, 0.9, 0.9]] * 7]
    assert reason("tracking", str(boxes)) == "of the boxes that count: no overlap with what is annotated"


def test_a_letter_and_its_evidence_each_say_their_own() -> None:
    both = reason("grounded_qa", "B", "[(10, 11)]")
    assert both == "B is wrong, A is right; evidence: no overlap with the annotated 4.5 to 9, 12 to 13 s"


def test_what_is_badly_formed_says_so_and_not_that_it_missed() -> None:
    assert "wrong" not in reason("multiple_choice", "I cannot tell")
    assert "overlap" not in reason("temporal_grounding", "somewhere")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("10 to 12", "iou: what the released function reads has nothing of the annotation"),
        ("somewhere", "iou: the released function reads no interval"),
    ],
)
def test_released_functions_are_told_by_what_they_read(answer: str, why: str) -> None:
    assert reason("temporal_grounding", answer, mode="paper") == why
