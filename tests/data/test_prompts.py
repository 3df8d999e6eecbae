"""What the policy is asked, in the three templates; an answer in the form asked for has the format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from data.prompts import PromptStyle, render_prompt
from data.schema import NUM_BOXES, Task, VideoPrompt
from rewards import Scorer, Template
from rewards.scoring import read_options
from rewards.templates import TEMPLATES

BOX = [0.1, 0.2, 0.3, 0.4]
# Question, options, target, and the answer blocks of a right response.
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any], str]] = {
    "temporal_grounding": ("a door opens", (), {"interval": [1, 2]}, "<answer>1 to 2</answer>"),
    "tracking": ("the cat", (), {"boxes": [BOX] * NUM_BOXES}, f"<answer>{[BOX] * NUM_BOXES}</answer>"),
    "multiple_choice": ("Which?", ("red", "blue"), {"answer": "B"}, "<answer>B</answer>"),
    "grounded_qa": (
        "Which?",
        ("red", "blue"),
        {"answer": "B", "intervals": [[1, 2]]},
        "<answer>B</answer><glue>[(1, 2)]</glue>",
    ),
    "spatial_grounding": ("the cat", (), {"box": BOX}, f"<answer>{BOX}</answer>"),
    "captioning": ("What happens?", (), {"caption": "A cat jumps."}, "<answer>A cat jumps.</answer>"),
    "quality": ("How does it look?", ("good", "bad"), {"label": "bad"}, "<answer>bad</answer>"),
    "numerical": ("How many?", (), {"number": 3}, "<answer>3</answer>"),
    "ocr": ("What is written?", (), {"text": "EXIT"}, "<answer>EXIT</answer>"),
    "free_form": ("Why?", (), {"text": "it rains"}, "<answer>it rains</answer>"),
    "regression": ("How far?", (), {"number": 2.5}, "<answer>2.5</answer>"),
}
SHAPES: dict[Template, str] = {
    "thinking": "<think>x</think>{}",
    "direct": "{}",
    "answer_first": "{}<think>x</think>",
}


def prompt_of(task: Task) -> VideoPrompt:
    question, options, target, _ = CASES[task]
    return VideoPrompt("p", task, "c.mp4", question, target, 8.0, options)


def test_every_task_is_asked_here() -> None:
    assert list(CASES) == list(Task)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("task", Task)
def test_the_form_asked_for_is_the_form_rewarded(task: Task, template: Template) -> None:
    prompt = prompt_of(task)
    text = render_prompt(prompt, PromptStyle(template))
    assert prompt.question in text
    assert all(option in text for option in prompt.options)
    assert ("<think>" in text) == (template != "direct")
    assert ("<glue>" in text) == (task == "grounded_qa")
    if template != "direct":
        assert (text.index("<think>") < text.index("<answer>")) == (template == "thinking")
    score = Scorer(task, template=template).score(
        SHAPES[template].format(CASES[task][3]), prompt.target, duration=8.0, options=prompt.options
    )
    assert set(score.rewards.values()) == {1.0}
    others = [shape for name, shape in SHAPES.items() if name != template]
    for shape in others:
        response = shape.format(CASES[task][3])
        scored = Scorer(task, template=template).score(response, prompt.target, options=prompt.options)
        assert not scored.parsed


def test_a_list_is_asked_for_where_several_intervals_may_be_given() -> None:
    options = {"temporal_grounding": read_options("temporal_grounding", {"max_intervals": 3})}
    text = render_prompt(prompt_of(Task.TEMPORAL_GROUNDING), PromptStyle("direct", options))
    assert text == (
        "When does this happen in the video: a door opens?\nGive its start and end in seconds, or those of its parts, "
        "as a list of at most 3 such as <answer>[(12.5, 17.0)]</answer>."
    )


def test_a_track_starts_at_the_first_box() -> None:
    assert "[0.10, 0.20, 0.30, 0.40]" in render_prompt(prompt_of(Task.TRACKING))


EVEN = "at 8 evenly spaced moments of the video, the first included, as"


@pytest.mark.parametrize(
    ("box_frames", "frame_rate", "moments"),
    [
        ((), None, EVEN),
        ((), 10.0, EVEN),
        ((0, 11, 23, 34, 46, 58, 69, 81), None, EVEN),
        (
            (0, 11, 23, 34, 46, 58, 69, 80),
            10.0,
            "at 0, 1.1, 2.3, 3.4, 4.6, 5.8, 6.9 and 8 seconds from the start of the video, as",
        ),
        # The clip starts at the first box.
        (
            (60, 120, 180, 240, 330, 390, 450, 510),
            30.0,
            "at 0, 2, 4, 6, 9, 11, 13 and 15 seconds from the start of the video, as",
        ),
        (
            (0, 1, 17, 31, 48, 63, 80, 99),
            None,
            "at the frames 0, 1, 17, 31, 48, 63, 80 and 99 of the video, as",
        ),
    ],
)
def test_the_moments_of_a_track_are_said_as_far_as_they_are_known(
    box_frames: tuple[int, ...], frame_rate: float | None, moments: str
) -> None:
    prompt = replace(prompt_of(Task.TRACKING), box_frames=box_frames, frame_rate=frame_rate)
    assert moments in render_prompt(prompt)
