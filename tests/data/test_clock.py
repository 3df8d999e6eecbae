"""A picture that starts later than its sound: what the policy answers is compared on the clock that it sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from data.clock import on_policy_clock
from data.schema import Task, VideoPrompt, decoded_problem
from rewards import score_response
from rewards.clock import on_clip_clock

GROUNDING = VideoPrompt("p", Task.TEMPORAL_GROUNDING, "c.mp4", "it", {"interval": [6.0, 8.0]}, 12.0)
EVIDENCE = VideoPrompt(
    "q",
    Task.GROUNDED_QA,
    "c.mp4",
    "?",
    {"answer": "A", "intervals": [[5.0, 6.0], [7.0, 9.0]]},
    12.0,
    ("x", "y"),
)
TRACK = VideoPrompt(
    "t",
    Task.TRACKING,
    "c.mp4",
    "the car",
    {"boxes": [[0, 0, 1, 1]] * 8},
    12.0,
    box_frames=tuple(range(0, 80, 10)),
)


def test_an_answer_counted_from_the_first_frame_is_right() -> None:
    seen = on_policy_clock(GROUNDING, 4.0)
    score = score_response(
        seen.task, "<think>t</think><answer>2 to 4</answer>", seen.target, duration=seen.duration
    )
    assert (seen.duration, score.rewards["iou"]) == (8.0, 1.0)
    shown = on_clip_clock(score, 4.0)
    missed = on_clip_clock(score_response(seen.task, "<answer>5 to 6</answer>", seen.target), 4.0)
    assert missed.reason is not None and "count from the first frame, at 4 s" in missed.reason
    assert shown.prediction == {"interval": [6.0, 8.0]} and shown.rewards == score.rewards


def test_an_interval_before_the_picture_cannot_be_found() -> None:
    early = replace(GROUNDING, target={"interval": [1.0, 3.0]})
    assert "ends before the picture starts at 4 s" in str(decoded_problem(early, 12.0, starts_at=4.0))
    assert decoded_problem(early, 12.0) is None and decoded_problem(GROUNDING, 12.0, starts_at=4.0) is None


def test_evidence_moves_and_letters_do_not() -> None:
    seen = on_policy_clock(EVIDENCE, 4.0)
    assert seen.target == {"answer": "A", "intervals": [[1.0, 2.0], [3.0, 5.0]]}
    text = "<think>t</think><answer>A</answer><glue>[(1, 2), (3, 5)]</glue>"
    score = score_response(seen.task, text, seen.target, duration=seen.duration, options=seen.options)
    assert score.rewards == {"format": 1.0, "accuracy": 1.0, "evidence_iou": 1.0}
    assert on_clip_clock(score, 4.0).prediction == EVIDENCE.target


def test_a_clip_that_starts_at_once_and_an_answer_without_times_stay_as_they_are() -> None:
    assert on_policy_clock(GROUNDING, 0.0) is GROUNDING
    unread = score_response(GROUNDING.task, "no answer", GROUNDING.target)
    assert on_clip_clock(unread, 4.0) is unread
    assert on_policy_clock(replace(GROUNDING, duration=None), 4.0).duration is None


@pytest.mark.parametrize(
    ("frame_rate", "box_times", "problem"),
    [
        (10.0, range(8), None),
        (10.01, range(8), None),
        # Frame numbers of a video of varying rate, and an annotation that takes them for even ones.
        (
            10.0,
            [0, 1, 2, 3, 4, 5, 6, 9],
            "box_frames[7] is 9.00 s after the first one, by frame_rate 10 the question would say 7.00 s",
        ),
        (25.0, range(8), "box_frames[1] is 1.00 s after the first one, by frame_rate 25"),
        # Without a rate the question says that the moments are evenly spaced.
        (None, range(8), None),
        (
            None,
            [0, 1, 2, 3, 5, 6, 7, 8],
            "box_frames[2] is 2.00 s after the first one, by their even frame numbers",
        ),
    ],
)
def test_moments_that_the_question_names_must_be_those_of_the_boxes(
    frame_rate: float | None, box_times: list[float], problem: str | None
) -> None:
    found = decoded_problem(replace(TRACK, frame_rate=frame_rate), 12.0, [float(time) for time in box_times])
    assert (found is None) if problem is None else (found is not None and found.startswith(problem))


def test_unevenly_numbered_boxes_are_named_by_their_frames(tmp_path: Path) -> None:
    uneven = replace(TRACK, box_frames=(0, 3, 9, 20, 30, 41, 52, 63))
    assert decoded_problem(uneven, 12.0, [0, 1, 2, 3, 5, 6, 7, 11]) is None
