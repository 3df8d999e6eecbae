"""The best constant answers, and the trivial ones."""

from __future__ import annotations

import random

import pytest

from rewards import COMPONENTS, TASKS, BadTarget, constant_baseline, trivial_baselines
from rewards.constants import spread
from rewards.measures import Scored
from rewards.result import Mode

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


def test_the_whole_video_is_a_trivial_answer() -> None:
    found = trivial_baselines(
        "temporal_grounding",
        [
            Scored({"interval": [0, 5]}, 10.0),
            Scored({"interval": [2, 4]}, 10.0),
            Scored({"interval": [0, 1]}),
        ],
    )
    # The clip of unknown length is taken to be as long as the longest.
    assert found == {
        "whole video": {"mIoU": pytest.approx(0.8 / 3), "R@0.3": 1 / 3, "R@0.5": 1 / 3, "R@0.7": 0}
    }


@pytest.mark.parametrize("mode", ["strict", "paper"])
def test_chance_is_the_mean_over_all_options(mode: Mode) -> None:
    asked = [
        Scored({"answer": "B"}, options=("x", "y")),
        Scored({"answer": "A"}, options=("x", "y", "z", "w")),
    ]
    chance = trivial_baselines("multiple_choice", asked, mode)["chance"]
    assert chance == {"accuracy": pytest.approx((1 / 2 + 1 / 4) / 2)}
    assert trivial_baselines("multiple_choice", [*asked, Scored({"answer": "B"})], mode) == {}


def test_chance_among_labels() -> None:
    labels = ("low quality", "high quality", "no idea")
    found = trivial_baselines("quality", [Scored({"label": "high quality"}, options=labels)] * 2)
    assert found == {"chance": {"accuracy": pytest.approx(1 / 3)}}


def test_a_grounded_question_has_chance_with_the_whole_video_as_evidence() -> None:
    half, little = ({"answer": letter, "intervals": [[0, end]]} for letter, end in (("A", 5), ("C", 2)))
    asked = [Scored(target, 10.0, ("x", "y", "z", "w")) for target in (half, little)]
    found = trivial_baselines("grounded_qa", asked)["chance, whole video"]
    assert (found["accuracy"], found["mIoU"], found["IoP@0.3"]) == pytest.approx((0.25, 0.35, 0.5))
    # Only where the evidence is right does a right letter count.
    assert found["Acc@GQA"] == pytest.approx(0.25 / 2)


def test_other_tasks_have_no_trivial_answer() -> None:
    with_one = {"temporal_grounding", "multiple_choice", "grounded_qa", "quality"}
    for task in set(TASKS) - with_one:
        assert trivial_baselines(task, [Scored(TARGETS[task], 30.0)]) == {}
