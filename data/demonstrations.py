"""Worked responses for the cold start: the answer format with a short think part, from what a synthetic clip shows.

The think part of a question about time lists the clip second by second: the time, the colour on screen, and a mark
where the answer's interval begins and ends. Demonstrations are imprecise on purpose: they notice a beginning or an end
up to two seconds late, and their boxes are off by up to a fifth of the frame, uniformly, so that no single answer
stands out. They teach how to answer and roughly where to look; being exact is left to the reward.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from data.prompts import LETTERS
from data.schema import Task, VideoPrompt
from data.synthetic import Scene

BOX_GRID = 0.05
# Largest error of a demonstrated box, as a share of the frame, and longest delay of a mark, in seconds.
BOX_ERROR = 0.2
DELAY = 2


def demonstrate(scene: Scene, prompt: VideoPrompt) -> str:
    """A well-formed, roughly right response to a synthetic prompt in the thinking format."""
    rng = random.Random(scene.seed)
    return _WRITERS[prompt.task](scene, prompt, rng)


def _grounding(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    start, end = _late(prompt.target["interval"], scene.duration, rng)
    return f"<think>{_seconds(scene, start, end)}</think> <answer> from {start:.1f} to {end:.1f}</answer>"


def _tracking(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    first, *rest = prompt.target["boxes"]
    boxes = ",".join([_coarse(first), *(_coarse(_shifted(box, rng)) for box in rest)])
    return f"<think>{prompt.question}</think> <answer>[{boxes}]</answer>"


def _multiple_choice(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    letter = prompt.target["answer"]
    return f"<think>{prompt.options[LETTERS.index(letter)]}</think> <answer>{letter}</answer>"


def _grounded(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    letter = prompt.target["answer"]
    start, end = _late(prompt.target["intervals"][0], scene.duration, rng)
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


def _late(interval: Sequence[float], duration: int, rng: random.Random) -> tuple[float, float]:
    """The interval with both ends up to `DELAY` whole seconds late, still within the clip and a second long."""
    start, end = interval
    end = min(end + rng.randint(0, DELAY), duration)
    return min(start + rng.randint(0, DELAY), end - 1), end


def _shifted(box: Sequence[float], rng: random.Random) -> list[float]:
    dx, dy = rng.uniform(-BOX_ERROR, BOX_ERROR), rng.uniform(-BOX_ERROR, BOX_ERROR)
    width, height = box[2] - box[0], box[3] - box[1]
    left, top = min(max(box[0] + dx, 0.0), 1 - width), min(max(box[1] + dy, 0.0), 1 - height)
    return [left, top, left + width, top + height]


def _coarse(box: Sequence[float]) -> str:
    snapped = (round(min(max(value, 0.0), 1.0) / BOX_GRID) * BOX_GRID for value in box)
    return "[" + ",".join(f"{value:.2f}" for value in snapped) + "]"
