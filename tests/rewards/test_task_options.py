"""Options and weights of tasks: each changes what its description says, and none is taken that would change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from rewards import Score, Scorer
from rewards.scoring import withhold_lonely_bonus
from rewards.tasks.temporal_grounding import penalised_iou

TRUTH = {"interval": [10, 20]}


def ground(answer: str, duration: float | None = 40.0, **options: Any) -> Score:
    scorer = Scorer("temporal_grounding", template="direct", options=options)
    return scorer.score(f"<answer>{answer}</answer>", TRUTH, duration=duration)


@pytest.mark.parametrize(
    ("answer", "iou"),
    [
        ("10 to 20", 1.0),
        ("14 to 20", 0.6 * 0.9),
        ("10 to 30", 0.5 * 0.75),
        ("0 to 99", 0.25 * 0.75 * 0.5),
        ("25 to 30", 0.0),
        ("20 to 10", 0.0),
    ],
)
def test_the_boundary_penalty(answer: str, iou: float) -> None:
    assert ground(answer, boundary_penalty=True).rewards["iou"] == pytest.approx(iou)


def test_an_annotation_far_past_the_end_costs_no_more_than_everything() -> None:
    assert penalised_iou((0.0, 10.0), (0.0, 30.0), 10.0) == 0.0


def test_boundaries_cannot_be_judged_without_a_duration() -> None:
    assert ground("10 to 20", duration=None, boundary_penalty=True).rewards["iou"] == 0.0


@pytest.mark.parametrize(
    ("answer", "iou", "parsed"),
    [
        ("[(10, 20)]", 1.0, True),
        ("10 to 20", 1.0, True),
        ("[(10, 12), (15, 20)]", 0.7, True),
        ("[(10, 12), (11, 15), (15, 20)]", 1.0, True),
        ("[(0, 10), (10, 20), (20, 30), (30, 40)]", 0.0, False),
        ("[(20, 10)]", 0.0, True),
        ("[]", 0.0, True),
        ("10 to 1e999", 0.0, False),
    ],
)
def test_several_intervals(answer: str, iou: float, parsed: bool) -> None:
    score = ground(answer, max_intervals=3)
    assert score.rewards["iou"] == pytest.approx(iou)
    assert score.parsed == parsed


def test_one_interval_is_the_default() -> None:
    assert not ground("[(10, 12), (15, 20)]").parsed
    assert ground("10 to 20").prediction == {"interval": (10.0, 20.0)}
    assert ground("10 to 20", max_intervals=2).prediction == {"intervals": ((10.0, 20.0),)}


def answer_with_evidence(glue: str, **options: Any) -> dict[str, float]:
    scorer = Scorer("grounded_qa", template="direct", options=options)
    target = {"answer": "C", "intervals": [[10, 20], [30, 40]]}
    return scorer.score(f"<answer>C</answer><glue>{glue}</glue>", target, duration=100.0).rewards


def test_the_cap_of_evidence_intervals() -> None:
    two = "[(10, 20), (30, 40)]"
    assert answer_with_evidence(two)["evidence_iou"] == 1.0
    assert answer_with_evidence(two, max_intervals=1) == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0}


def test_precision_of_the_evidence_is_a_component_of_its_own() -> None:
    rewards = answer_with_evidence("[(15, 25)]", iop=True)
    assert rewards == {
        "format": 1.0,
        "accuracy": 1.0,
        "evidence_iou": pytest.approx(0.2),
        "evidence_iop": 0.5,
    }
    unread = answer_with_evidence("here", iop=True)
    assert unread == {"format": 0.0, "accuracy": 1.0, "evidence_iou": 0.0, "evidence_iop": 0.0}


@pytest.mark.parametrize(
    ("letter", "tokens", "bonus"),
    [("A", 320, 0.2), ("A", 512, 0.2), ("A", 319, 0.0), ("A", 513, 0.0), ("B", 400, 0.0), ("A", None, 0.0)],
)
def test_a_right_response_of_the_wanted_length_earns_a_bonus(
    letter: str, tokens: int | None, bonus: float
) -> None:
    scorer = Scorer("multiple_choice", options={"length_bonus": 0.2})
    response = f"<think>x</think><answer>{letter}</answer>"
    score = scorer.score(response, {"answer": "A"}, num_options=2, tokens=tokens)
    assert score.rewards["length_bonus"] == bonus
    assert score.total == sum(score.rewards.values())
    assert tuple(score.rewards) == scorer.components


@pytest.mark.parametrize(("right", "bonus"), [(0, 0.0), (1, 0.0), (2, 0.2), (3, 0.2)])
@pytest.mark.parametrize("weights", [{}, {"length_bonus": 0.5, "format": 0.1}])
def test_a_lonely_right_response_earns_no_length_bonus(
    right: int, bonus: float, weights: dict[str, float]
) -> None:
    """Video-R1's released code asks for more than one right response in the group."""
    options = {"length_bonus": 0.2}
    scorer = Scorer("multiple_choice", options=options, weights=weights)
    plain = Scorer("multiple_choice", weights={k: v for k, v in weights.items() if k != "length_bonus"})
    responses = [f"<think>-</think><answer>{'A' if n < right else 'B'}</answer>" for n in range(4)]
    alone = [scorer.score(response, {"answer": "A"}, tokens=400) for response in responses]
    group = withhold_lonely_bonus("multiple_choice", alone, options, weights)
    assert [score.rewards["length_bonus"] for score in group] == [bonus] * right + [0.0] * (4 - right)
    assert [score.rewards["length_bonus"] for score in alone] == [0.2] * right + [0.0] * (4 - right)
    without = [plain.score(response, {"answer": "A"}).total for response in responses]
    gained = [score.total - before for score, before in zip(group, without, strict=True)]
    assert gained == pytest.approx([weights.get("length_bonus", 1.0) * bonus] * right + [0.0] * (4 - right))


def test_a_group_without_length_bonuses_is_left_as_it_is() -> None:
    scores = [Scorer("multiple_choice").score("<think>-</think><answer>A</answer>", {"answer": "A"})]
    assert withhold_lonely_bonus("multiple_choice", scores, {}) == scores


def test_every_task_can_have_the_length_bonus() -> None:
    options = {"length_bonus": 1.0, "length_bonus_min_tokens": 5, "length_bonus_max_tokens": 6}
    scorer = Scorer("tracking", "paper", "direct", options)
    boxes = [[0.1, 0.1, 0.5, 0.5]] * 8
    score = scorer.score(f"<answer>{boxes}</answer>", {"boxes": boxes}, tokens=6)
    assert (score.rewards["length_bonus"], score.total) == (1.0, 3.0)
    assert scorer.score("", {"boxes": []}, tokens=6).rewards == {
        "format": 0.0,
        "iou": 0.0,
        "length_bonus": 0.0,
    }


@pytest.mark.parametrize("mode", ["strict", "paper"])
def test_weights_change_the_total_alone(mode: Any) -> None:
    scorer = Scorer("temporal_grounding", mode, "direct", weights={"format": 0.1, "iou": 0.9})
    score = scorer.score("<answer>10 to 14</answer>", TRUTH, duration=40.0)
    assert score.rewards == {"format": 1.0, "iou": 0.4}
    assert score.total == pytest.approx(0.1 + 0.36)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"options": {"max_interval": 3}}, "temporal_grounding: max_interval: Extra inputs"),
        ({"options": {"max_intervals": 0}}, "max_intervals"),
        ({"options": {"boundary_penalty": 1}}, "boundary_penalty"),
        ({"options": {"boundary_penalty": True, "max_intervals": 2}}, "leave max_intervals at 1"),
        ({"options": {"boundary_penalty": True}, "mode": "paper"}, "knows no boundary_penalty"),
        ({"weights": {"accuracy": 1.0}}, "no component 'accuracy'"),
        ({"weights": {"length_bonus": 1.0}}, "no component 'length_bonus'"),
        ({"weights": {"iou": -1.0}}, "must be a number from 0"),
        ({"template": "socratic"}, "unknown template"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Scorer("temporal_grounding", **arguments)
