"""The annotated answer of every task, written as a response: what supervised training learns from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import MAIN_COMPONENT, SPECS, TASKS, Scorer
from rewards.baselines import written
from rewards.scoring import read_options, read_target

BOX = [0.1, 0.125, 0.5004, 1.02]
# Target, options of the task, and the response.
SOLUTIONS: dict[str, list[tuple[dict[str, Any], dict[str, Any], str]]] = {
    "temporal_grounding": [
        ({"interval": [5, 10.25]}, {}, "<answer>5.00 to 10.25</answer>"),
        ({"interval": [5, 10.25]}, {"max_intervals": 2}, "<answer>[(5.00, 10.25)]</answer>"),
    ],
    "tracking": [
        ({"boxes": [BOX] * 2}, {}, f"<answer>[{', '.join(['[0.100, 0.125, 0.500, 1.000]'] * 2)}]</answer>")
    ],
    "multiple_choice": [({"answer": "C"}, {}, "<answer>C</answer>")],
    "grounded_qa": [
        ({"answer": "b", "intervals": [[5.2, 10.4]]}, {}, "<answer>B</answer>\n<glue>[(5.20, 10.40)]</glue>"),
        (
            {"answer": "C", "intervals": [[8, 9], [1, 4], [20, 22]]},
            {"max_intervals": 2},
            "<answer>C</answer>\n<glue>[(1.00, 4.00), (20.00, 22.00)]</glue>",
        ),
    ],
    "spatial_grounding": [({"box": BOX}, {}, "<answer>[0.100, 0.125, 0.500, 1.000]</answer>")],
    "captioning": [
        ({"caption": "A cat jumps.", "events": ["a cat jumps"]}, {}, "<answer>A cat jumps.</answer>")
    ],
    "quality": [({"label": "High quality "}, {}, "<answer>high quality</answer>")],
    "numerical": [
        ({"number": 1250}, {}, "<answer>1250</answer>"),
        ({"number": -0.5}, {}, "<answer>-0.5</answer>"),
    ],
    "ocr": [({"text": "OPEN ALL NIGHT"}, {}, "<answer>OPEN ALL NIGHT</answer>")],
    "free_form": [({"text": "it rains"}, {}, "<answer>it rains</answer>")],
    "regression": [({"number": 2.4}, {}, "<answer>2.4</answer>")],
}


def solve(task: str, target: dict[str, Any], options: dict[str, Any]) -> str:
    return written(SPECS[task].solution(read_target(task, target), read_options(task, options)))


@pytest.mark.parametrize("task", TASKS)
def test_the_annotated_answer_as_a_response(task: str) -> None:
    for target, options, response in SOLUTIONS[task]:
        assert solve(task, target, options) == response


@pytest.mark.parametrize("task", TASKS)
def test_it_is_well_formed_and_right(task: str) -> None:
    for target, options, _ in SOLUTIONS[task]:
        score = Scorer(task, template="direct", options=options).score(solve(task, target, options), target)
        assert score.parsed
        # Decimals beyond those written, and what lies outside the frame, are lost.
        assert score.rewards[MAIN_COMPONENT[task]] > 0.95


@given(st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number) < 1e300))
def test_any_number_can_be_written(number: float) -> None:
    for task in ("numerical", "regression"):
        response = solve(task, {"number": number}, {})
        assert (
            Scorer(task, template="direct").score(response, {"number": number}).rewards[MAIN_COMPONENT[task]]
            == 1.0
        )
