"""The best constant answers."""

from __future__ import annotations

import random

import pytest

from rewards import COMPONENTS, TASKS, BadTarget, constant_baseline
from rewards.constants import spread

TARGETS: dict[str, dict[str, object]] = {
    "temporal_grounding": {"interval": [5.0, 10.0]},
    "tracking": {"boxes": [[0.1, 0.1, 0.5, 0.5]] * 8},
    "multiple_choice": {"answer": "C"},
    "grounded_qa": {"answer": "C", "intervals": [[5.0, 10.0]]},
    "spatial_grounding": {"box": [0.1, 0.1, 0.5, 0.5]},
    "captioning": {"caption": "A cat jumps."},
    "quality": {"label": "high quality"},
    "numerical": {"number": -5e300},
    "ocr": {"text": "exit"},
    "free_form": {"text": "a cat"},
    "regression": {"number": 12.25},
}


def test_the_constant_interval_is_given_in_fractions_of_the_clip() -> None:
    items = [({"interval": [0.2 * duration, 0.6 * duration]}, duration) for duration in (10.0, 30.0, 80.0)]
    baseline = constant_baseline("temporal_grounding", items)
    assert baseline.description == "20% to 60% of the clip"
    assert baseline.per_item == [pytest.approx(1.0)] * 3
    assert baseline.mean == pytest.approx(1.0)


def test_the_constant_interval_is_the_best_on_average() -> None:
    items = [({"interval": [0, 5]}, 10.0), ({"interval": [0, 5]}, 10.0), ({"interval": [8, 10]}, 10.0)]
    baseline = constant_baseline("temporal_grounding", items)
    assert baseline.description == "0% to 50% of the clip"
    assert baseline.per_item == [1.0, 1.0, 0.0]


def test_an_unknown_duration_is_the_longest_known() -> None:
    items: list[tuple[dict[str, list[int]], float | None]] = [
        ({"interval": [0, 10]}, None),
        ({"interval": [10, 20]}, None),
        ({"interval": [10, 20]}, None),
    ]
    assert constant_baseline("temporal_grounding", items).description == "50% to 100% of the clip"
    items.append(({"interval": [10, 20]}, 40.0))
    assert constant_baseline("temporal_grounding", items).description == "25% to 50% of the clip"


def test_odd_annotations_score_0_and_stay_in_the_mean() -> None:
    items = [({"interval": [0, 5]}, 10.0), ({"interval": [5, 0]}, 10.0)]
    assert constant_baseline("temporal_grounding", items).per_item == [1.0, 0.0]


def test_the_first_box_is_repeated() -> None:
    first, away = [0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]
    items = [({"boxes": [first] + [first] * 2 + [away] * 5}, 10.0), ({"boxes": [first] * 8}, 10.0)]
    assert constant_baseline("tracking", items).per_item == [pytest.approx(2 / 7), 1.0]
    assert constant_baseline("tracking", items, "paper").per_item == [pytest.approx(3 / 8), 1.0]


def test_the_most_frequent_letter() -> None:
    items = [({"answer": letter}, None) for letter in "DBADB"]
    baseline = constant_baseline("multiple_choice", items)
    assert baseline.description == "always B"  # D is as frequent; the first letter of the two
    assert baseline.per_item == [0.0, 1.0, 0.0, 0.0, 1.0]


def test_grounded_qa_has_a_letter_and_an_interval() -> None:
    items = [
        ({"answer": "A", "intervals": [[0, 2], [8, 10]]}, 10.0),
        ({"answer": "A", "intervals": [[0, 2]]}, 10.0),
    ]
    baseline = constant_baseline("grounded_qa", items)
    assert baseline.description == "always A, 0% to 20% of the clip"
    assert baseline.components["evidence_iou"] == [pytest.approx(0.5), pytest.approx(1.0)]
    assert baseline.per_item == baseline.components["accuracy"] == [1.0, 1.0]


def test_the_order_of_the_items_changes_nothing_but_the_order() -> None:
    source = random.Random(0)
    items = [({"interval": sorted([source.uniform(0, 30), source.uniform(0, 30)])}, 30.0) for _ in range(40)]
    baseline, turned = (
        constant_baseline("temporal_grounding", items),
        constant_baseline("temporal_grounding", items[::-1]),
    )
    assert baseline.description == turned.description
    assert baseline.per_item == turned.per_item[::-1]


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(ValueError, match="no items"):
        constant_baseline("tracking", [])
    with pytest.raises(BadTarget, match=r"target\.boxes"):
        constant_baseline("tracking", [({"boxes": []}, None)])


@pytest.mark.parametrize(
    ("task", "targets", "description", "values"),
    [
        ("quality", [{"label": t} for t in ("Good", "bad", "good")], "always good", [1.0, 0.0, 1.0]),
        ("numerical", [{"number": n} for n in (3, 4, 3.001)], "always 3.0", [1.0, 0.0, 1.0]),
        ("regression", [{"number": n} for n in (100, 120, 1000)], "always 100.0", [1.0, 5 / 6, 0.1]),
        ("ocr", [{"text": t} for t in ("exit", "no exit", "push")], "always 'exit'", [1.0, 0.5, 0.0]),
        (
            "free_form",
            [{"text": t} for t in ("a cat", "a cat sleeps", "rain")],
            "always 'a cat'",
            [1.0, (0.8 + 2 / 3 + 0.8) / 3, 0.0],
        ),
        (
            "captioning",
            [{"caption": t} for t in ("A cat jumps. A dog barks.", "A dog barks.", "Rain.")],
            "always 'A cat jumps. A dog barks.'",
            [1.0, 1.0, 0.0],
        ),
        (
            "spatial_grounding",
            [{"box": [0.2, 0.2, 0.6, 0.6]}, {"box": [0.2, 0.2, 0.6, 0.8]}, {"box": [0.2, 0.2, 0.6, 0.6]}],
            "always [0.2, 0.2, 0.6, 0.6]",
            [1.0, 2 / 3, 1.0],
        ),
    ],
)
def test_the_constants_of_the_other_tasks(
    task: str, targets: list[dict[str, object]], description: str, values: list[float]
) -> None:
    for order in (targets, targets[::-1]):
        baseline = constant_baseline(task, [(target, None) for target in order])
        assert baseline.description == description
        assert sorted(baseline.per_item) == pytest.approx(sorted(values))


def test_every_constant_answer_is_well_formed() -> None:
    for task in TASKS:
        baseline = constant_baseline(task, [(TARGETS[task], 30.0)] * 3)
        assert all(score.parsed for score in baseline.scores)
        assert list(baseline.components) == list(COMPONENTS[task][1:])


def test_many_references_are_thinned_evenly() -> None:
    assert spread(range(100)) == [0, 7, 13, 20, 26, 33, 40, 46, 53, 59, 66, 73, 79, 86, 92, 99]
    assert spread(["b", "a", "b"]) == ["a", "b"]
