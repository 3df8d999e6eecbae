"""Synthetic clips with exact ground truth: coloured shapes that appear, move and vanish, as real H.264 files.

A clip is a function of its seed alone. Training and held-out seeds come from disjoint ranges, so the two never meet.
The annotations are written in the schema that every other dataset uses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.sampling import SamplingContract
from data.schema import NUM_BOXES, Task, VideoPrompt

COLOURS = {"red": (225, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 235), "yellow": (240, 220, 40)}
# Options always come in the order of these: a policy of a million parameters does not learn to look letters up.
LETTERS = "ABCD"
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
HELD_OUT_SEED_START = 1_000_000_000
# Width and height in pixels, and native frames per second, of the files.
FRAME_SIZES = (*((112, 112),) * 6, (112, 56), (56, 112))
FRAME_RATES = (4, 6, 8)
DURATIONS = (8, 8, 8, 6)
# Share of the clips with something else to see, by task; a question about colour always has that.
GROUNDING_DISTRACTORS = 0.3
TRACKING_DISTRACTORS = 0.5
# A tracked object hops this many times between the cells of a grid of three by three.
HOPS = 4


@dataclass(frozen=True)
class Shape:
    """One moving shape.

    Attributes:
        size: Width and height as a share of the frame's.
        waypoints: Centres `(x, y)`, normalised, passed at equal time steps from `start` to `end`.
        start: First second it is visible.
        end: Second at which it vanishes.
    """

    colour: str
    kind: str
    size: float
    waypoints: tuple[tuple[float, float], ...]
    start: float
    end: float

    @property
    def name(self) -> str:
        """`red circle`."""
        return f"{self.colour} {self.kind}"

    def centre(self, time: float) -> tuple[float, float]:
        """Where its centre is at a time in seconds, linear between waypoints."""
        legs = len(self.waypoints) - 1
        if legs == 0:
            return self.waypoints[0]
        progress = min(max((time - self.start) / (self.end - self.start), 0.0), 1.0) * legs
        leg = min(int(progress), legs - 1)
        (x0, y0), (x1, y1) = self.waypoints[leg], self.waypoints[leg + 1]
        share = progress - leg
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    def box(self, time: float) -> list[float]:
        """Its box `[x0, y0, x1, y1]` at a time, normalised."""
        x, y = self.centre(time)
        half = self.size / 2
        return [round(v, 4) for v in (x - half, y - half, x + half, y + half)]


@dataclass(frozen=True)
class Scene:
    """Everything a clip's pixels follow from.

    Attributes:
        seed: Seeds the background's texture, and the piece of footage where there is any.
        duration: Seconds.
        width: Pixels.
        height: Pixels.
        fps: Native frames per second.
        shapes: Drawn in order, later ones on top.
    """

    seed: int
    duration: int
    width: int
    height: int
    fps: int
    shapes: tuple[Shape, ...]

    @property
    def num_frames(self) -> int:
        """Frames in the file."""
        return self.duration * self.fps


def make_scene(task: Task, seed: int, contract: SamplingContract) -> tuple[Scene, VideoPrompt]:
    """The scene and the annotation of one seed; the video path is `<id>.mp4`."""
    rng = random.Random(seed)
    return _BUILDERS[task](rng, seed, contract)


def make_prompts(
    tasks: Sequence[Task], per_task: int, first_seed: int, contract: SamplingContract
) -> list[tuple[Scene, VideoPrompt]]:
    """`per_task` scenes of each task, tasks interleaved, seeds counted up from `first_seed`."""
    pairs = []
    for number in range(per_task):
        for offset, task in enumerate(tasks):
            pairs.append(make_scene(task, first_seed + number * len(tasks) + offset, contract))
    return pairs


def _grounding(rng: random.Random, seed: int, contract: SamplingContract) -> tuple[Scene, VideoPrompt]:
    duration, colours, kinds = _casting(rng)
    target, other = _visitors(rng, colours, kinds, duration)
    shapes = (other, target) if rng.random() < GROUNDING_DISTRACTORS else (target,)
    scene = _scene(rng, seed, duration, shapes)
    prompt = VideoPrompt(
        id=f"tg-{seed}",
        task=Task.TEMPORAL_GROUNDING,
        video=f"tg-{seed}.mp4",
        question=f"a {target.name} is visible",
        target={"interval": [target.start, target.end]},
        duration=float(duration),
    )
    return scene, prompt


def _tracking(rng: random.Random, seed: int, contract: SamplingContract) -> tuple[Scene, VideoPrompt]:
    duration, colours, kinds = _casting(rng, durations=(NUM_BOXES,))
    size = rng.choice((0.3, 0.35, 0.4))
    target = Shape(colours[0], kinds[0], size, _tour(rng, size, duration), 0.0, float(duration))
    other = _visitor(rng, colours[1], kinds[1], duration)
    shapes = (other, target) if rng.random() < TRACKING_DISTRACTORS else (target,)
    scene = _scene(rng, seed, duration, shapes)
    times = np.arange(scene.num_frames) / scene.fps
    indices = contract.choose_frames(times, scene.num_frames / scene.fps).indices
    frames = tuple(indices[:: len(indices) // NUM_BOXES][:NUM_BOXES])
    prompt = VideoPrompt(
        id=f"track-{seed}",
        task=Task.TRACKING,
        video=f"track-{seed}.mp4",
        question=f"the {target.name}",
        target={"boxes": [target.box(frame / scene.fps) for frame in frames]},
        duration=float(duration),
        box_frames=frames,
    )
    return scene, prompt


def _multiple_choice(rng: random.Random, seed: int, contract: SamplingContract) -> tuple[Scene, VideoPrompt]:
    duration, colours, kinds = _casting(rng)
    if rng.random() < 0.5:
        way = rng.choice(list(DIRECTIONS))
        target = Shape(colours[0], kinds[0], 0.35, _straight(rng, way, 0.35), 0.0, float(duration))
        question, right, choices = f"Which way does the {target.name} move?", way, list(DIRECTIONS)
    else:
        target = _visitor(rng, colours[0], kinds[0], duration)
        question, right, choices = f"What colour is the {target.kind}?", target.colour, list(COLOURS)
    other = _visitor(rng, colours[1], kinds[1], duration)
    letter = LETTERS[choices.index(right)]
    prompt = VideoPrompt(
        id=f"mc-{seed}",
        task=Task.MULTIPLE_CHOICE,
        video=f"mc-{seed}.mp4",
        question=question,
        target={"answer": letter},
        duration=float(duration),
        options=tuple(choices),
    )
    return _scene(rng, seed, duration, (other, target)), prompt


def _grounded(rng: random.Random, seed: int, contract: SamplingContract) -> tuple[Scene, VideoPrompt]:
    duration, colours, kinds = _casting(rng)
    target, other = _visitors(rng, colours, kinds, duration)
    letter = LETTERS[list(COLOURS).index(target.colour)]
    prompt = VideoPrompt(
        id=f"gqa-{seed}",
        task=Task.GROUNDED_QA,
        video=f"gqa-{seed}.mp4",
        question=f"What colour is the {target.kind}?",
        target={"answer": letter, "intervals": [[target.start, target.end]]},
        duration=float(duration),
        options=tuple(COLOURS),
    )
    return _scene(rng, seed, duration, (other, target)), prompt


_BUILDERS = {
    Task.TEMPORAL_GROUNDING: _grounding,
    Task.TRACKING: _tracking,
    Task.MULTIPLE_CHOICE: _multiple_choice,
    Task.GROUNDED_QA: _grounded,
}
TASKS = tuple(_BUILDERS)
"""The tasks that there are synthetic clips for."""


def _casting(rng: random.Random, durations: Sequence[int] = DURATIONS) -> tuple[int, list[str], list[str]]:
    """A duration in seconds, and colours and shapes in random order."""
    return rng.choice(durations), rng.sample(list(COLOURS), len(COLOURS)), rng.sample(SHAPES, len(SHAPES))


def _scene(rng: random.Random, seed: int, duration: int, shapes: tuple[Shape, ...]) -> Scene:
    width, height = rng.choice(FRAME_SIZES)
    return Scene(seed, duration, width, height, rng.choice(FRAME_RATES), shapes)


def _visitors(rng: random.Random, colours: list[str], kinds: list[str], duration: int) -> tuple[Shape, Shape]:
    """A target and a distractor of another colour and shape, never there together."""
    target = _visitor(rng, colours[0], kinds[0], duration)
    while True:
        other = _visitor(rng, colours[1], kinds[1], duration)
        if other.end <= target.start or other.start >= target.end:
            return target, other


def _visitor(rng: random.Random, colour: str, kind: str, duration: int) -> Shape:
    """A shape that is there for 1 to 3 whole seconds, drifting a little."""
    length = rng.randint(1, 3)
    start = rng.randint(0, duration - length)
    size = rng.choice((0.35, 0.4, 0.45))
    place = _place(rng, size)
    return Shape(colour, kind, size, (place, _near(rng, place, size)), float(start), float(start + length))


def _place(rng: random.Random, size: float) -> tuple[float, float]:
    return rng.uniform(size / 2, 1 - size / 2), rng.uniform(size / 2, 1 - size / 2)


def _near(rng: random.Random, place: tuple[float, float], size: float) -> tuple[float, float]:
    low, high = size / 2, 1 - size / 2
    x, y = (min(max(value + rng.uniform(-0.1, 0.1), low), high) for value in place)
    return x, y


def _tour(rng: random.Random, size: float, duration: int) -> tuple[tuple[float, float], ...]:
    """One place per half second: `HOPS` hops to another cell, each in the half second before a whole one."""
    marks = (size / 2, 0.5, 1 - size / 2)
    cells = [(x, y) for x in marks for y in marks]
    hops = rng.sample(range(1, duration), HOPS)
    place, places = rng.choice(cells), []
    for half in range(2 * duration + 1):
        if half % 2 == 0 and half // 2 in hops:
            place = rng.choice([cell for cell in cells if cell != place])
        places.append(place)
    return tuple(places)


def _straight(rng: random.Random, way: str, size: float) -> tuple[tuple[float, float], ...]:
    """From one side of the frame to the other along one axis."""
    (dx, dy), across = DIRECTIONS[way], rng.uniform(size / 2, 1 - size / 2)
    reach = 0.5 - size / 2
    if dx:
        return (0.5 - dx * reach, across), (0.5 + dx * reach, across)
    return (across, 0.5 - dy * reach), (across, 0.5 + dy * reach)


def clip_path(folder: Path, prompt: VideoPrompt) -> Path:
    """Where a synthetic prompt's file lies in a folder."""
    return folder / prompt.video
