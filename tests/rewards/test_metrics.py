"""The figures that benchmarks are quoted in, by the definitions of those who quote them."""

from __future__ import annotations

from typing import Any

import pytest

from rewards import constant_baseline, score_response
from rewards.measures import Metric, Scored
from rewards.metrics import aggregate, evaluate_task

BOX = [0.25, 0.25, 0.75, 0.75]
AWAY = [0.0, 0.0, 0.1, 0.1]


def scored(task: str, answer: str, target: dict[str, Any], glue: str = "", duration: float = 100.0) -> Scored:
    response = f"<answer>{answer}</answer>" + (f"<glue>{glue}</glue>" if glue else "")
    score = score_response(task, response, target, duration=duration, template="direct")
    return Scored(target, duration, (), score)


def test_recall_at_a_threshold_counts_what_reaches_it() -> None:
    target = {"interval": [0, 10]}
    samples = [scored("temporal_grounding", f"0 to {end}", target) for end in (3, 5, 7, 10)]
    figures = evaluate_task("temporal_grounding", samples)
    assert figures == pytest.approx({"mIoU": 0.625, "R@0.3": 1.0, "R@0.5": 0.75, "R@0.7": 0.5})


def test_what_was_not_answered_stays_in_the_denominator() -> None:
    target = {"interval": [0, 10]}
    samples = [
        scored("temporal_grounding", "0 to 10", target),
        scored("temporal_grounding", "no idea", target),
        Scored(target, 100.0),
    ]
    assert evaluate_task("temporal_grounding", samples)["mIoU"] == pytest.approx(1 / 3)


def ground(glue: str, letter: str = "A") -> dict[str, float]:
    target = {"answer": "A", "intervals": [[10, 20], [30, 50]]}
    return evaluate_task("grounded_qa", [scored("grounded_qa", letter, target, glue)])


def test_next_gqa_takes_the_best_span_for_iou_and_for_iop() -> None:
    """The best IoU is with the second span, the best IoP with the first."""
    figures = ground("[(16, 46)]")
    assert figures["mIoU of one span"] == pytest.approx(16 / 34)
    assert figures["mIoP"] == pytest.approx(16 / 30)
    assert figures["mIoU"] == pytest.approx(20 / 40)
    figures = ground("[(12, 16)]")
    assert (figures["mIoP"], figures["IoP@0.5"]) == (1.0, 1.0)
    assert figures["mIoU of one span"] == pytest.approx(0.4)
    assert (figures["IoU@0.3"], figures["IoU@0.5"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("glue", "letter", "right"),
    [
        ("[(10, 20)]", "A", 1.0),
        ("[(10, 20)]", "B", 0.0),
        ("[(0, 20)]", "A", 1.0),  # a threshold is reached at equality
        ("[(0, 20.1)]", "A", 0.0),
        ("[(60, 70)]", "A", 0.0),
        ("[(15, 15)]", "A", 1.0),  # an instant inside a span, as the benchmark's script has it
        ("[(60, 60)]", "A", 0.0),
        ("everywhere", "A", 0.0),
    ],
)
def test_a_right_answer_needs_half_of_its_evidence_annotated(glue: str, letter: str, right: float) -> None:
    assert ground(glue, letter)["Acc@GQA"] == right


def track(answer: list[list[float]], **target: Any) -> Scored:
    return scored("tracking", str(answer), {"boxes": [BOX] * 8, **target})


def test_the_three_ways_to_average_overlap() -> None:
    figures = evaluate_task("tracking", [track([BOX] * 4 + [AWAY] * 4)])
    assert figures["AO"] == pytest.approx(3 / 7)
    assert figures["AO with first"] == pytest.approx(0.5)
    assert (figures["AO with first >= 0.5"], figures["AO with first >= 0.7"]) == (1.0, 0.0)
    assert figures["AO official"] == pytest.approx(3 / 7)


def test_official_frames_are_pooled_where_the_object_shows() -> None:
    """Six visible frames of one sequence, one of the other: 3 right of 7, not the mean of 1/3 and 1."""
    long = track([BOX] * 3 + [AWAY] * 5, cover=[1, 1, 1, 0, 0.1, 1, 1, 1])
    short = track([AWAY] * 7 + [BOX], cover=[1, 0, 0, 0, 0, 0, 0, 1])
    figures = evaluate_task("tracking", [long, short])
    assert figures["AO official"] == figures["SR@0.5"] == figures["SR@0.75"] == pytest.approx(3 / 7)
    assert figures["mAO official"] == pytest.approx((2 / 6 + 1) / 2)


def test_a_success_rate_is_strictly_above_its_threshold() -> None:
    half = [0.25, 0.25, 0.75, 0.5]
    figures = evaluate_task("tracking", [track([half] * 8)])
    assert figures["AO official"] == 0.5
    assert figures["SR@0.5"] == 0.0


def test_boxes_of_an_absent_object_do_not_count() -> None:
    absent = [False] * 6 + [True] * 2
    boxes = [BOX] * 6 + [[0.0] * 4] * 2
    for answer in ([BOX] * 3 + [AWAY] * 5, [BOX] * 3 + [AWAY] * 3 + [BOX] * 2):
        sample = track(answer, boxes=boxes, absent=absent)
        assert sample.reward("iou") == pytest.approx(2 / 5)
        figures = evaluate_task("tracking", [sample])
        assert figures["AO"] == figures["AO official"] == figures["SR@0.5"] == pytest.approx(2 / 5)
        assert figures["AO with first"] == pytest.approx(3 / 8)


def test_paper_mode_leaves_the_first_box_out_of_ao() -> None:
    target = {"boxes": [BOX] * 8}
    response = f"<answer>{[BOX] * 4 + [AWAY] * 4}</answer>"
    score = score_response("tracking", response, target, mode="paper", template="direct")
    figures = evaluate_task("tracking", [Scored(target, score=score)])
    assert score.rewards["iou"] == figures["AO with first"] == 0.5
    assert figures["AO"] == pytest.approx(3 / 7)


def test_classes_weigh_the_same() -> None:
    samples = [track([BOX] * 8, **{"class": "cat"})] * 3 + [track([AWAY] * 8, **{"class": "dog"})]
    figures = evaluate_task("tracking", samples)
    assert figures["AO official"] == figures["SR@0.75"] == 0.75
    assert figures["mAO official"] == figures["mSR@0.75"] == 0.5


def test_an_object_that_never_shows_weighs_nothing() -> None:
    hidden = track([AWAY] * 8, cover=[1] + [0] * 7, **{"class": "fish"})
    figures = evaluate_task("tracking", [track([BOX] * 8, **{"class": "cat"}), hidden])
    assert figures["AO official"] == figures["mAO official"] == 1.0
    assert figures["AO"] == 0.5


def test_boxes_are_bounded_as_the_toolkit_does() -> None:
    """A box that starts left of the image is moved in with its width, not cut: [-0.25, 0.25] becomes [0, 0.5]."""
    target = {"boxes": [[0.0, 0.0, 0.5, 1.0]] * 8}
    outside = scored("tracking", str([[-0.25, 0.0, 0.25, 1.0]] * 8), target)
    figures = evaluate_task("tracking", [outside])
    assert figures["AO official"] == 1.0
    assert figures["AO"] == 0.5
    beyond = scored("tracking", str([[0.0, 0.0, 0.5, 3.0]] * 8), target)
    assert evaluate_task("tracking", [beyond])["AO official"] == 1.0


def test_an_unreadable_track_counts_every_visible_frame() -> None:
    target = {"boxes": [BOX] * 8, "cover": [1] * 4 + [0] * 4}
    samples = [track([BOX] * 8, cover=[1] * 8), scored("tracking", "lost it", target), Scored(target)]
    assert evaluate_task("tracking", samples)["AO official"] == pytest.approx(7 / 13)


@pytest.mark.parametrize(
    ("answer", "figure"), [("100", 1.0), ("74", 0.5), ("126", 0.5), ("40", 0.0), ("94", 0.9), ("many", 0.0)]
)
def test_mean_relative_accuracy(answer: str, figure: float) -> None:
    sample = scored("regression", answer, {"number": 100})
    assert evaluate_task("regression", [sample])["MRA"] == pytest.approx(figure)


def test_a_baseline_has_the_figures_of_a_model() -> None:
    targets = [{"boxes": [BOX] * 8}, {"boxes": [BOX] * 4 + [AWAY] * 4}]
    baseline = constant_baseline("tracking", [(target, 10.0) for target in targets])
    samples = [
        Scored(target, 10.0, (), score) for target, score in zip(targets, baseline.scores, strict=True)
    ]
    assert evaluate_task("tracking", samples)["AO with first"] == pytest.approx(0.75)


def test_groups_weigh_the_same_and_empty_ones_nothing() -> None:
    metric = Metric("m", lambda s: (s.target["n"], s.target["w"]), "test", lambda s: s.target["g"])
    samples = [
        Scored({"n": n, "w": w, "g": g}) for n, w, g in [(1, 1, "a"), (0, 1, "a"), (1, 2, "b"), (0, 0, "c")]
    ]
    assert aggregate(metric, samples) == 0.5
    assert aggregate(metric, samples[3:]) == 0.0
    with pytest.raises(ValueError, match="no samples"):
        aggregate(metric, [])
