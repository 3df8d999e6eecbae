"""What holds for every response: no exception, values in range, time linear in the length."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rewards import COMPONENTS, SPECS, TASKS, Mode, Template, next_gqa, paper, score_response
from rewards.boxes import box_iou
from rewards.intervals import interval_iou, union_iop, union_iou
from rewards.measures import Scored
from rewards.metrics import evaluate_task
from rewards.templates import TEMPLATES

TARGETS: dict[str, dict[str, Any]] = {
    "temporal_grounding": {"interval": [5.0, 10.0]},
    "tracking": {"boxes": [[0.1, 0.1, 0.5, 0.5]] * 8},
    "multiple_choice": {"answer": "C"},
    "grounded_qa": {"answer": "C", "intervals": [[5.0, 10.0], [12.0, 15.0]]},
    "spatial_grounding": {"box": [0.1, 0.1, 0.5, 0.5]},
    "captioning": {"caption": "A cat jumps. Then it sleeps.", "events": ["a cat jumps", "a cat sleeps"]},
    "quality": {"label": "high quality"},
    "numerical": {"number": 5.0},
    "ocr": {"text": "a cat to go"},
    "free_form": {"text": "a cat is sleeping"},
    "regression": {"number": 12.0},
}
# How long one example takes says nothing on a busy machine; the linear-time tests measure processor time.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MODES: tuple[Mode, ...] = ("strict", "paper")
MAX_CHARACTERS = 200_000

# Pieces that the readers react to, so that random responses come close to good ones.
PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "<glue>",
        "</glue>",
        "[[0.1, 0.1, 0.5, 0.5],",
        "[(5, 10)]",
    ]
    + ["5", "10", "0:12", "1e999", ".5", "-3", "to", "and", "-", "–", ",", "[", "]", "(", ")", "s"]
    + [
        "C",
        "c",
        "A.",
        "a cat",
        "jumps",
        "1,000",
        "high quality",
        "[0.1, 0.1, 0.5, 0.5]",
        " ",
        "\n",
        "\x00",
        "\ud800",
        "٣",
    ]
)
TEXTS = st.one_of(
    st.text(st.characters(), max_size=200),
    st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
    st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")),
    st.lists(PIECES, max_size=40).map("".join),
)
RESPONSES = st.one_of(
    TEXTS,
    st.builds("<think>{}</think><answer>{}</answer>".format, TEXTS, TEXTS),
    st.builds("<think>x</think><answer>{}</answer><glue>{}</glue>".format, TEXTS, TEXTS),
)
MODE_OF_TASK = st.tuples(st.sampled_from(TASKS), st.sampled_from(MODES))
TIMES = st.floats(-1e3, 1e3)
# Eighths, which sums and doubling leave exact.
EIGHTHS = st.integers(-800, 800).map(lambda number: number / 8)
INTERVALS = st.tuples(TIMES, TIMES)
BOXES = st.tuples(*[st.floats(-0.5, 1.5)] * 4)


@settings(unhurried, max_examples=400)
@given(RESPONSES, st.sampled_from(TASKS), st.sampled_from(MODES), st.sampled_from(TEMPLATES))
@example(
    "<think>x</think><answer>" + "9" * 5000 + " to 1e99999999</answer>",
    "temporal_grounding",
    "paper",
    "thinking",
)
@example("<answer>1e99999999 to 2e-99999999</answer>", "temporal_grounding", "strict", "direct")
def test_any_response_gets_a_score_in_range(response: str, task: str, mode: Mode, template: Template) -> None:
    score = score_response(task, response, TARGETS[task], duration=30.0, mode=mode, template=template)
    assert tuple(score.rewards) == COMPONENTS[task]
    assert all(0.0 <= value <= 1.0 for value in score.rewards.values())
    assert score.total == sum(score.rewards.values())
    assert (score.reason is None) == (0.0 not in score.rewards.values())


@pytest.mark.parametrize("response", [None, 5, b"<answer>C</answer>", ["C"]])
def test_a_response_that_is_no_string_scores_0(response: Any) -> None:
    score = score_response("multiple_choice", response, {"answer": "C"})
    assert score.total == 0.0
    assert score.reason


@unhurried
@given(INTERVALS, INTERVALS)
@example((0.0, 0.1), (0.1, 0.3))
def test_interval_iou_is_symmetric_and_in_range(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    assert 0.0 <= interval_iou(first, second) <= 1.0
    assert interval_iou(first, second) == interval_iou(second, first)
    assert interval_iou(first, first) == float(first[0] < first[1])


@unhurried
@given(st.lists(INTERVALS, min_size=1, max_size=4), st.lists(INTERVALS, min_size=1, max_size=4))
def test_union_iou_is_symmetric_and_in_range(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> None:
    assert 0.0 <= union_iou(first, second) <= 1.0
    assert union_iou(first, second) == pytest.approx(union_iou(second, first), abs=1e-12)
    assert union_iou(first, second) == union_iou(first[::-1] * 2, second)


@unhurried
@given(INTERVALS, INTERVALS)
def test_union_iou_of_single_intervals_is_interval_iou(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    assert union_iou([first], [second]) == pytest.approx(interval_iou(first, second), abs=1e-9)


@unhurried
@given(BOXES, BOXES)
def test_box_iou_is_symmetric_and_in_range(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    assert 0.0 <= box_iou(first, second) <= 1.0
    assert box_iou(first, second) == box_iou(second, first)


@unhurried
@given(*[st.tuples(EIGHTHS, EIGHTHS)] * 2, EIGHTHS, st.integers(-4, 4))
def test_interval_iou_is_the_same_elsewhere_and_at_any_scale(
    first: tuple[float, float], second: tuple[float, float], shift: float, power: int
) -> None:
    moved = [tuple((time + shift) * 2.0**power for time in interval) for interval in (first, second)]
    assert interval_iou(*moved) == interval_iou(first, second)  # type: ignore[arg-type]
    assert union_iou(moved[:1], moved[1:]) == union_iou([first], [second])  # type: ignore[arg-type]
    assert union_iop(moved[:1], moved[1:]) == union_iop([first], [second])  # type: ignore[arg-type]


@unhurried
@given(*[st.tuples(*[EIGHTHS] * 4)] * 2, EIGHTHS, st.integers(-4, 4))
def test_box_iou_is_the_same_elsewhere_and_at_any_scale(
    first: tuple[float, ...], second: tuple[float, ...], shift: float, power: int
) -> None:
    moved = [tuple((side + shift) * 2.0**power for side in box) for box in (first, second)]
    assert box_iou(*moved) == box_iou(first, second)  # type: ignore[arg-type]


@unhurried
@given(*[st.tuples(EIGHTHS, EIGHTHS)] * 2, *[st.tuples(*[EIGHTHS] * 4)] * 2, EIGHTHS, st.integers(-4, 4))
def test_the_released_overlaps_are_symmetric_and_the_same_elsewhere(
    first: tuple[float, float],
    second: tuple[float, float],
    box: tuple[float, float, float, float],
    other: tuple[float, float, float, float],
    shift: float,
    power: int,
) -> None:
    for measure, one, two in ((paper.hull_iou, first, second), (paper.plain_box_iou, box, other)):
        overlap = measure(one, two)  # type: ignore[operator]
        assert 0.0 <= overlap <= 1.0
        assert measure(two, one) == overlap  # type: ignore[operator]
        moved = [tuple((value + shift) * 2.0**power for value in each) for each in (one, two)]
        assert measure(*moved) == overlap  # type: ignore[operator]


@unhurried
@given(*[st.lists(st.tuples(EIGHTHS, EIGHTHS), max_size=4)] * 2, EIGHTHS, st.integers(-4, 4), st.randoms())
def test_the_best_span_is_the_same_elsewhere_and_in_any_order(
    predicted: list[tuple[float, float]],
    spans: list[tuple[float, float]],
    shift: float,
    power: int,
    order: random.Random,
) -> None:
    for measure in (next_gqa.best_iou, next_gqa.best_iop):
        best = measure(predicted, spans)
        assert 0.0 <= best <= 1.0
        assert measure(order.sample(predicted, len(predicted)), order.sample(spans, len(spans))) == best
        moved = [
            [((start + shift) * 2.0**power, (end + shift) * 2.0**power) for start, end in each]
            for each in (predicted, spans)
        ]
        assert measure(*moved) == best
        assert best == max((measure(predicted, [span]) for span in spans), default=0.0)


@unhurried
@given(INTERVALS, INTERVALS)
def test_the_overlap_of_one_interval_with_one_span_is_symmetric(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    assert next_gqa.best_iou([first], [second]) == pytest.approx(
        next_gqa.best_iou([second], [first]), abs=1e-12
    )
    assert next_gqa.best_iou([first], [second]) <= next_gqa.best_iop([first], [second]) + 1e-12


@unhurried
@given(st.lists(INTERVALS, max_size=4), st.lists(INTERVALS, max_size=4))
def test_iop_is_in_range_and_full_where_everything_is_annotated(
    predicted: list[tuple[float, float]], annotated: list[tuple[float, float]]
) -> None:
    assert 0.0 <= union_iop(predicted, annotated) <= 1.0
    everything = [(-1e3, 1e3)]
    assert union_iop(predicted, everything) == pytest.approx(float(any(s < e for s, e in predicted)))


@unhurried
@given(st.lists(st.tuples(RESPONSES, st.booleans()), min_size=1, max_size=6), st.randoms(), MODE_OF_TASK)
def test_no_order_of_the_samples_changes_a_figure(
    answers: list[tuple[str, bool]], order: random.Random, case: tuple[str, Mode]
) -> None:
    task, mode = case
    scores = [score_response(task, text, TARGETS[task], duration=30.0, mode=mode) for text, _ in answers]
    samples = [
        Scored(TARGETS[task], 30.0, (), None if is_lost else score)
        for score, (_, is_lost) in zip(scores, answers, strict=True)
    ]
    figures = evaluate_task(task, samples)
    assert list(figures) == [metric.name for metric in SPECS[task].metrics]
    assert all(0.0 <= figure <= 1.0 for figure in figures.values())
    assert evaluate_task(task, order.sample(samples, len(samples))) == figures


@unhurried
@given(st.lists(RESPONSES, max_size=8), st.randoms(use_true_random=False))
def test_scores_do_not_depend_on_the_other_samples(responses: list[str], order: random.Random) -> None:
    shuffled = order.sample(range(len(responses)), len(responses))
    target = TARGETS["grounded_qa"]
    alone = [score_response("grounded_qa", response, target) for response in responses]
    mixed = {index: score_response("grounded_qa", responses[index], target) for index in shuffled}
    assert [mixed[index] for index in range(len(responses))] == alone


def run_of(piece: str, characters: int) -> str:
    return (piece * characters)[:characters]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "[ ",
        "[[",
        "(5,",
        "[(5, 10), ",
        "[(1, 2), (3, 4)]",
        "[0.1, 0.1, 0.5, 0.5], ",
        "[[0.1, 0.1, 0.5, 0.5], ",
        "]",
        "1",
        "0",
        "1.",
        ".1",
        "1:",
        "1:02:",
        "1e",
        "-",
        "- 5 ",
        "5 to ",
        "5 to 10, ",
        " ",
        "5" + " " * 999,
        "5 s" + " " * 999,
        "\n",
        "A cat. ",
        "C ",
        "a.",
        "a ",
        "a" + " " * 999,
        "A-",
        "'",
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "<answer></answer>",
        "</think><answer>",
        "</think> <answer>x",
        "</answer> <glue>",
        "</answer><glue></glue>",
        "<think><answer></answer></think>",
        "</think>" + " " * 999,
        "<",
        "١",
        "\ud800",
        "\x00",
    ],
)
def test_no_response_takes_long(piece: str, task: str, mode: Mode) -> None:
    run = run_of(piece, MAX_CHARACTERS // 3)
    wrapped = f"<think>{run}</think><answer>[{run}</answer><glue>[{run}</glue>"
    assert seconds_to_score([run_of(piece, MAX_CHARACTERS), wrapped], task, mode) < 1.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", TASKS)
def test_runs_of_two_kinds_do_not_multiply(task: str, mode: Mode) -> None:
    half = MAX_CHARACTERS // 2
    kinds = [(" ", "A cat "), (" ", "- 5"), ("1", "1 to "), ("9", " "), (" ", "<answer>"), ("[", "5, ")]
    insides = ["C" + run_of(first, half) + run_of(second, half) for first, second in kinds]
    responses = [f"<think>x</think><answer>{inside}</answer><glue>{inside}</glue>" for inside in insides]
    assert seconds_to_score(responses, task, mode) < 3.0


# So little is no cause for another look.
QUICK_S = 0.5


def seconds_to_score(responses: list[str], task: str, mode: Mode) -> float:
    """Processor time; linear scans stay far below the limits asked for, a quadratic one far above.

    The best of three: processor time too is several times as long for a moment where others take the caches.
    """
    taken = []
    for _ in range(3):
        start = time.process_time()
        for response in responses:
            score_response(task, response, TARGETS[task], duration=30.0, mode=mode)
        taken.append(time.process_time() - start)
        if taken[-1] < QUICK_S:
            break
    return min(taken)
