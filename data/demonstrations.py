"""Worked responses for the cold start: the answer format with a short think part, from what a synthetic clip shows.

The think part of a question about time lists the clip second by second: the time, the colour on screen, and a mark
where the answer's interval begins and ends. Most demonstrations are late on purpose: all their marks come two seconds
after the event, all their boxes are where the object was three seconds before. The rest are in time. What a policy
copies from them is a late answer most of the time and a right one now and then; which is better only the reward tells.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from data.prompts import LETTERS
from data.schema import Task, VideoPrompt
from data.synthetic import Scene

BOX_GRID = 0.05
# Share of demonstrations that are in time, and by how many seconds the marks and boxes of the others are late.
IN_TIME = 0.25
MARK_DELAY = 2
BOX_DELAY = 3


def demonstrate(scene: Scene, prompt: VideoPrompt) -> str:
    """A well-formed, roughly right response to a synthetic prompt in the thinking format."""
    rng = random.Random(scene.seed)
    return _WRITERS[prompt.task](scene, prompt, rng)


def _grounding(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    start, end = _perhaps_late(prompt.target["interval"], scene.duration, rng)
    return f"<think>{_seconds(scene, start, end)}</think> <answer> from {start:.1f} to {end:.1f}</answer>"


def _tracking(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    target = scene.shapes[-1]
    delay = 0 if rng.random() < IN_TIME else BOX_DELAY
    times = [max(0.0, frame / scene.fps - delay) for frame in prompt.box_frames]
    boxes = ",".join(_coarse(target.box(time)) for time in times)
    return f"<think>{prompt.question}</think> <answer>[{boxes}]</answer>"


def _multiple_choice(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    letter = prompt.target["answer"]
    return f"<think>{prompt.options[LETTERS.index(letter)]}</think> <answer>{letter}</answer>"


def _grounded(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    letter = prompt.target["answer"]
    start, end = _perhaps_late(prompt.target["intervals"][0], scene.duration, rng)
    thought = f"{prompt.options[LETTERS.index(letter)]} {_seconds(scene, start, end)}"
    return f"<think>{thought}</think> <answer>{letter}</answer> <glue>[({start:.1f}, {end:.1f})]</glue>"


_WRITERS = {
    Task.TEMPORAL_GROUNDING: _grounding,
    Task.TRACKING: _tracking,
    Task.MULTIPLE_CHOICE: _multiple_choice,
    Task.GROUNDED_QA: _grounded,
}


def _seconds(scene: Scene, start: float, end: float) -> str:
    """`0.0:none . 1.0:red from 2.0:red . 3.0:none to`, one entry per second and one for the clip's end."""
    entries = []
    for second in range(scene.duration + 1):
        seen = [shape.colour for shape in scene.shapes if shape.start <= second < shape.end]
        mark = {start: "from", end: "to"}.get(second, ".")
        entries.append(f"{second:.1f}:{seen[-1] if seen else 'none'} {mark} ")
    return "".join(entries)


def _perhaps_late(interval: Sequence[float], duration: int, rng: random.Random) -> tuple[float, float]:
    """The interval, or the interval `MARK_DELAY` seconds later, still within the clip and at least a second long."""
    start, end = interval
    delay = 0 if rng.random() < IN_TIME else MARK_DELAY
    end = min(end + delay, duration)
    return min(start + delay, end - 1), end


def _coarse(box: Sequence[float]) -> str:
    snapped = (round(min(max(value, 0.0), 1.0) / BOX_GRID) * BOX_GRID for value in box)
    return "[" + ",".join(f"{value:.2f}" for value in snapped) + "]"
