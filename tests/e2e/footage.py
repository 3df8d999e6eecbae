"""An annotation file as users bring it: clips of many shapes, damaged ones, a prompt too long, a time past the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from data.readers import DatasetSpec, read_dataset
from tests.videos import cut_short, write_video

# Frames, frame rate, width, height: what the policy sees of them differs in length, shape and sampled rate.
SHAPES = (
    (24, Fraction(8), 112, 112),
    (90, Fraction(30000, 1001), 168, 84),
    (48, Fraction(6), 56, 140),
    (33, Fraction(25), 196, 112),
    (60, Fraction(10), 84, 84),
    (20, Fraction(12), 140, 56),
)
DAMAGED = ("cut", "empty")
TOO_LONG = "long"
# The listed duration is wrong.
LATE = "late"
UNUSABLE = {*DAMAGED, TOO_LONG, LATE}


def write_dataset(folder: Path) -> Path:
    """Two prompts per good clip, one per damaged clip, one far too long and one past the end. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (frames, fps, width, height) in enumerate(SHAPES):
        name = f"clip-{number}.mp4"
        write_video(folder / name, frames, fps, width, height)
        seconds = float(frames / fps)
        lines += [grounding(f"when-{number}", name, seconds), choice(f"what-{number}", name, seconds)]
    cut_short(folder / "clip-1.mp4", folder / "cut.mp4")
    (folder / "empty.mp4").touch()
    lines += [grounding(name, f"{name}.mp4", 3.0) for name in DAMAGED]
    lines.append(choice(TOO_LONG, "clip-0.mp4", 3.0, question="What " + "colour is it " * 300 + "?"))
    lines.append(grounding(LATE, "clip-0.mp4", 99.0))
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def write_held_out(folder: Path) -> Path:
    """A few prompts about clips of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    write_video(folder / "held-out.mp4", 40, 10, 112, 84)
    (folder / "held-out-empty.mp4").touch()
    lines = [grounding(f"held-when-{n}", "held-out.mp4", 4.0) for n in range(2)]
    lines += [choice("held-what-0", "held-out.mp4", 4.0), choice("held-what-1", "held-out-empty.mp4", 4.0)]
    path = folder / "held-out.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def good_ids(dataset: Path) -> set[str]:
    """The prompts that can be used."""
    prompts, _ = read_dataset(DatasetSpec(dataset.name, "jsonl", dataset))
    return {prompt.id for prompt in prompts} - UNUSABLE


def grounding(name: str, video: str, seconds: float) -> dict[str, Any]:
    target = {"interval": [0.25 * seconds, 0.75 * seconds]}
    return annotation(name, "temporal_grounding", video, "the bar grows", seconds, target)


def choice(
    name: str, video: str, seconds: float, question: str = "Which colour is the bar?"
) -> dict[str, Any]:
    return annotation(name, "multiple_choice", video, question, seconds, {"answer": "B"}) | {
        "options": ["red", "green", "blue"]
    }


def annotation(
    name: str, task: str, video: str, question: str, seconds: float, target: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "id": name,
        "task": task,
        "video": video,
        "question": question,
        "duration": seconds,
        "target": dict(target),
    }


def share_of_low_letters(task: str, response: str, target: Mapping[str, Any], duration: float) -> float:
    """A reward that the responses of an untrained policy differ in."""
    letters = [letter for letter in response.lower() if letter.isalpha()]
    return sum(letter < "n" for letter in letters) / max(1, len(letters))


def moody(task: str, response: str, target: Mapping[str, Any], duration: float) -> float:
    """The same, by a function that cannot cope with every response."""
    if len(response) % 3 == 0:
        raise KeyError("no such mood")
    return share_of_low_letters(task, response, target, duration)


REWARDS = {"temporal_grounding": share_of_low_letters, "multiple_choice": moody}
