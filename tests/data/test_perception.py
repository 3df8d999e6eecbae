"""A closer look: which windows an answer names, how the question is asked again, and whose clock a time is on."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.perception import look_at, named_windows, retime
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt

CHOICE = VideoPrompt("p", Task.MULTIPLE_CHOICE, "c.mp4", "which?", {"answer": "A"}, 20.0, ("x", "y"))


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (None, ()),
        ({"answer": "A"}, ()),
        ({"interval": [2, 5]}, ((2, 5),)),
        ({"intervals": [(8, 9), (2, 5)]}, ((2, 5), (8, 9))),
        ({"intervals": [(2, 5), (4, 6), (6, 7)]}, ((2, 7),)),
        ({"intervals": [(2, 9), (3, 4)]}, ((2, 9),)),
        ({"interval": [-3, 50]}, ()),  # all of it
        ({"interval": [15, 50]}, ((15, 20),)),
        ({"interval": [30, 50]}, ()),
        ({"interval": [5, 2]}, ()),
        ({"interval": [5, 5]}, ()),
        ({"intervals": [(1, 2), (3, 4), (5, 6)]}, ((1, 2), (3, 4), (5, 6))),
        ({"intervals": [(1, 2), (3, 4), (5, 6), (7, 8)]}, ()),  # spraying
    ],
)
def test_windows_are_what_the_answer_names_within_the_clip(prediction: Any, expected: Any) -> None:
    assert named_windows(prediction, 20.0) == expected


def test_a_choice_is_asked_with_its_evidence_until_the_last_look() -> None:
    first, last = look_at(CHOICE, (), last=False), look_at(CHOICE, ((1.0, 2.0),), last=True)
    assert (first.task, first.windows, first.target["answer"]) == (Task.GROUNDED_QA, (), "A")
    assert (last.task, last.windows, last.target) == (Task.MULTIPLE_CHOICE, ((1.0, 2.0),), CHOICE.target)
    assert look_at(CHOICE, (), last=True) == CHOICE


def test_a_clip_of_unknown_length_is_not_looked_at_closer() -> None:
    unknown = replace(CHOICE, duration=None)
    assert look_at(unknown, (), last=False) == unknown
    assert named_windows({"interval": [2, 5]}, None) == ()


# Eight frames of 20 s, shown every 2.5 s: denser from 5 s to 10 s, where they really are 1.25 s apart.
TIMES = (0.0, 3.0, 5.0, 6.25, 7.5, 8.75, 12.0, 16.0)


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        (Task.TEMPORAL_GROUNDING, "<answer>5.0 to 15.0</answer>", "<answer>5.00 to 12.00</answer>"),
        (Task.TEMPORAL_GROUNDING, "<answer>0 to 20</answer>", "<answer>0.00 to 20.00</answer>"),
        (
            Task.TEMPORAL_GROUNDING,
            "<think>at 5.0 or 7.5</think><answer>from 0:06.25s to 7.5s</answer>",
            "<think>at 5.0 or 7.5</think><answer>from 5.62s to 6.25s</answer>",
        ),
        (Task.TEMPORAL_GROUNDING, "<answer>-3 to 21</answer>", "<answer>-3 to 21</answer>"),
        (Task.TEMPORAL_GROUNDING, "<answer>0.125 to 0.25 min</answer>", "<answer>6.25 to 12.00</answer>"),
        (
            Task.TEMPORAL_GROUNDING,
            "<answer>**7.5** s → 0 min 10 s.</answer>",
            "<answer>**6.25** s → 7.50</answer>",
        ),
        (
            Task.TEMPORAL_GROUNDING,
            "<answer>In 2 of them: 5 to 15</answer>",
            "<answer>In 2 of them: 5.00 to 12.00</answer>",
        ),
        (Task.TEMPORAL_GROUNDING, "<answer>5 to 10 %</answer>", "<answer>5 to 10 %</answer>"),
        (
            Task.GROUNDED_QA,
            '<glue>[{"end": 15, "start": 5}, ["0:07.5", "0:10"]]</glue>',
            '<glue>[{"end": 12.00, "start": 5.00}, ["6.25", "7.50"]]</glue>',
        ),
        (Task.TEMPORAL_GROUNDING, "5.0 to 15.0", "5.0 to 15.0"),
        (
            Task.GROUNDED_QA,
            "<answer>B</answer><glue>[(7.5, 10.0)]</glue>",
            "<answer>B</answer><glue>[(6.25, 7.50)]</glue>",
        ),
        (Task.MULTIPLE_CHOICE, "<answer>7.5</answer>", "<answer>7.5</answer>"),
    ],
)
def test_times_are_brought_to_the_videos_clock(task: Task, text: str, expected: str) -> None:
    assert retime(text, task, TIMES, 20.0) == expected


@given(
    st.integers(8, 400),
    st.floats(1, 60),
    st.tuples(st.floats(0, 0.9), st.floats(0.05, 0.5)),
    st.floats(0, 1),
    st.sampled_from([0.0, 4.0]),
)
def test_a_moment_seen_on_a_frame_is_found_where_the_frame_is(
    total: int, fps: float, part: tuple[float, float], place: float, late: float
) -> None:
    """What the engine is told and what is made of its answer fit together, whatever was sampled."""
    duration = total / fps
    window = (part[0] * duration, min(1.0, sum(part)) * duration)
    times = np.arange(total) / fps
    choice = SamplingContract(windows=(window,)).choose_frames(times + late, duration + late)
    number = math.floor(place * (len(choice.indices) - 1))
    answer = f"<answer>{number / choice.sampled_fps:.6f} to {duration:.6f}</answer>"
    found = float(retime(answer, Task.TEMPORAL_GROUNDING, choice.moments, duration + late)[8:].split()[0])
    assert found == pytest.approx(choice.moments[number], abs=0.006)
    assert choice.moments[number] == pytest.approx(late + times[choice.indices[number]])


@given(st.text(alphabet="<>answer/glue 0123456789.:-[(,)]", max_size=200), st.sampled_from(list(Task)))
def test_any_text_can_be_retimed(text: str, task: Task) -> None:
    retime(text, task, TIMES, 20.0)


def test_a_text_full_of_tags_takes_no_time() -> None:
    # Seconds, where a scan per tag takes hours.
    started = time.monotonic()
    retime("<answer>" * 100_000 + "1" * 100_000, Task.TEMPORAL_GROUNDING, TIMES, 20.0)
    assert time.monotonic() - started < 60
