"""Responses for the supervised stage.

`answer` writes the annotated answer of any prompt and nothing else: what VideoChat-R1's supervised baselines learn. The
others write worked responses to synthetic clips: the answer format with a short think part, from what the clip shows.

The think part holds what is seen. For a question about time it lists the clip second by second: the time, the colour
on screen, and a mark where the interval in question begins and ends, and concludes; for a track it lists the boxes.
Where and when most answers then ignore it: they name the clip's first two seconds, or repeat the first box. What a
policy copies from them is a constant answer most of the time and a considered one now and then; which is better only
the reward tells. Letters follow from what is seen: question answering is what GRPO must not harm.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence

from data.prompts import PromptStyle
from data.schema import LETTERS, Task, VideoPrompt
from data.synthetic import Scene
from rewards import SPECS
from rewards.baselines import written
from rewards.scoring import read_target

BOX_GRID = 0.05
# Share of the intervals and tracks that follow from the think part.
CONSIDERED = 0.25
# Seconds named by the others.
GUESS = (0.0, 2.0)


def answer(prompt: VideoPrompt, style: PromptStyle) -> str:
    """The annotated answer to a prompt that asks for the answer alone."""
    truth = read_target(prompt.task, prompt.target, prompt.options)
    return written(SPECS[prompt.task].solution(truth, style.options_of(prompt.task)))


def demonstrate(scene: Scene, prompt: VideoPrompt) -> str:
    """A well-formed, roughly right response to a synthetic prompt in the thinking format."""
    # Not the draws that made the scene: what is careless here must not follow from what is seen.
    rng = random.Random(f"{scene.seed}/demonstration")
    return _WRITERS[prompt.task](scene, prompt, rng)


def introduce(scene: Scene, prompt: VideoPrompt) -> str:
    """What the first steps show: where and when in a think part alone, which is right; questions answered in full.

    Where and when are GRPO's to answer. That the letter of an answer is the one seen takes many steps to learn, and
    the format alone would be there before it.
    """
    thought = _THOUGHTS.get(prompt.task)
    return f"<think>{thought(prompt, scene)}</think>" if thought else demonstrate(scene, prompt)


def _grounding(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    thought = _seconds(scene, prompt.target["interval"])
    start, end = prompt.target["interval"] if rng.random() < CONSIDERED else GUESS
    return f"<think>{thought}</think> <answer> from {start:.1f} to {end:.1f}</answer>"


def _tracking(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    boxes = prompt.target["boxes"]
    answer = boxes if rng.random() < CONSIDERED else boxes[:1] * len(boxes)
    return f"<think>{_boxes(boxes)}</think> <answer>{_boxes(answer)}</answer>"


def _multiple_choice(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    return f"<think>{_right_option(prompt)}</think> <answer>{prompt.target['answer']}</answer>"


def _grounded(scene: Scene, prompt: VideoPrompt, rng: random.Random) -> str:
    letter, interval = prompt.target["answer"], prompt.target["intervals"][0]
    thought = _seconds(scene, interval) + _right_option(prompt)
    start, end = interval if rng.random() < CONSIDERED else GUESS
    return f"<think>{thought}</think> <answer>{letter}</answer> <glue>[({start:.1f}, {end:.1f})]</glue>"


_WRITERS = {
    Task.TEMPORAL_GROUNDING: _grounding,
    Task.TRACKING: _tracking,
    Task.MULTIPLE_CHOICE: _multiple_choice,
    Task.GROUNDED_QA: _grounded,
}


_THOUGHTS: dict[Task, Callable[[VideoPrompt, Scene], str]] = {
    Task.TEMPORAL_GROUNDING: lambda prompt, scene: _seconds(scene, prompt.target["interval"]),
    Task.TRACKING: lambda prompt, scene: _boxes(prompt.target["boxes"]),
}


def _seconds(scene: Scene, interval: Sequence[float]) -> str:
    """`0.0:none . 1.0:red from 2.0:none to  from 1.0 to 2.0`: an entry per second and one for the clip's end."""
    start, end = interval
    entries = []
    for second in range(scene.duration + 1):
        seen = [shape.colour for shape in scene.shapes if shape.start <= second < shape.end]
        mark = {start: "from", end: "to"}.get(second, ".")
        entries.append(f"{second:.1f}:{seen[-1] if seen else 'none'} {mark} ")
    return "".join(entries) + f" from {start:.1f} to {end:.1f}"


def _right_option(prompt: VideoPrompt) -> str:
    """`blue(C)`: what is seen, and where the options have it."""
    letter = prompt.target["answer"]
    return f"{prompt.options[LETTERS.index(letter)]}({letter})"


def _boxes(boxes: Iterable[Sequence[float]]) -> str:
    return "[" + ",".join(map(_coarse, boxes)) + "]"


def _coarse(box: Sequence[float]) -> str:
    snapped = (round(min(max(value, 0.0), 1.0) / BOX_GRID) * BOX_GRID for value in box)
    return "[" + ",".join(f"{value:.2f}" for value in snapped) + "]"
