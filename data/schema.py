"""The annotation schema: one JSON object per line, one line per prompt.

Every reader of a public dataset and the synthetic generator produce this form, so nothing downstream knows where a
prompt came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

NUM_BOXES = 8


class Task(StrEnum):
    """The kinds of question a prompt can ask."""

    TEMPORAL_GROUNDING = "temporal_grounding"
    TRACKING = "tracking"
    MULTIPLE_CHOICE = "multiple_choice"
    GROUNDED_QA = "grounded_qa"


class AnnotationError(ValueError):
    """An annotation line that cannot be used; the message names file, line and reason."""


@dataclass(frozen=True)
class VideoPrompt:
    """One question about one clip, with the answer the rewards compare against.

    Attributes:
        id: Unique within a dataset.
        task: Which task the question belongs to.
        video: Path of the clip, absolute or relative to the annotation file.
        question: What is asked, without any format instruction: an event, a question or an object description.
        target: `{"interval": [s, e]}`, `{"boxes": [[x0, y0, x1, y1], ... 8]}`, `{"answer": "C"}` or
            `{"answer": "C", "intervals": [[s, e], ...]}`; times in seconds, boxes normalised to 0-1.
        duration: Length of the clip in seconds.
        options: Answer texts of a choice question, in letter order, without their letters.
        box_frames: For tracking, the frame index in the source video of each of the 8 boxes.
    """

    id: str
    task: Task
    video: str
    question: str
    target: Mapping[str, Any]
    duration: float
    options: tuple[str, ...] = ()
    box_frames: tuple[int, ...] = ()

    @property
    def first_box(self) -> list[float]:
        """The box that a tracking prompt gives away."""
        return list(self.target["boxes"][0])

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this prompt, empty fields left out."""
        fields = {
            "id": self.id,
            "task": str(self.task),
            "video": self.video,
            "question": self.question,
            "duration": self.duration,
            "target": dict(self.target),
            "options": list(self.options),
            "box_frames": list(self.box_frames),
        }
        return {key: value for key, value in fields.items() if value not in ([], None)}


def read_annotations(path: str | Path) -> tuple[list[VideoPrompt], list[str]]:
    """Read an annotation file.

    Returns:
        The usable prompts (video paths made absolute), and one message per line that had to be skipped.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    path = Path(path)
    prompts: list[VideoPrompt] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            prompt = parse_prompt(json.loads(line), path.parent)
            if prompt.id in seen:
                raise AnnotationError(f"id {prompt.id!r} was used on an earlier line")
        except (json.JSONDecodeError, AnnotationError) as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        seen.add(prompt.id)
        prompts.append(prompt)
    return prompts, problems


def write_annotations(path: str | Path, prompts: Iterable[VideoPrompt]) -> None:
    """Write prompts one JSON object per line, in order."""
    lines = [json.dumps(prompt.to_json(), ensure_ascii=False) for prompt in prompts]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_prompt(fields: Any, folder: Path) -> VideoPrompt:
    """Build a prompt from its JSON object.

    Raises:
        AnnotationError: a field is missing, of the wrong type, or contradicts the task.
    """
    if not isinstance(fields, dict):
        raise AnnotationError(f"expected a JSON object, found {type(fields).__name__}")
    missing = [key for key in ("id", "task", "video", "question", "duration", "target") if key not in fields]
    if missing:
        raise AnnotationError(f"missing {', '.join(missing)}")
    if fields["task"] not in list(Task):
        raise AnnotationError(f"unknown task {fields['task']!r}; known: {', '.join(Task)}")
    if not isinstance(fields["duration"], int | float) or not fields["duration"] > 0:
        raise AnnotationError(f"duration must be a positive number of seconds, found {fields['duration']!r}")
    prompt = VideoPrompt(
        id=str(fields["id"]),
        task=Task(fields["task"]),
        video=str(folder / str(fields["video"])),
        question=str(fields["question"]),
        target=fields["target"],
        duration=float(fields["duration"]),
        options=tuple(str(option) for option in fields.get("options", ())),
        box_frames=tuple(int(index) for index in fields.get("box_frames", ())),
    )
    problem = target_problem(prompt)
    if problem:
        raise AnnotationError(problem)
    return prompt


def target_problem(prompt: VideoPrompt) -> str | None:
    """What is wrong with a prompt's target, or None."""
    if not isinstance(prompt.target, Mapping):
        return f"target must be an object, found {type(prompt.target).__name__}"
    if prompt.task is Task.TEMPORAL_GROUNDING:
        return _interval_problem(prompt.target.get("interval"), prompt.duration)
    if prompt.task is Task.TRACKING:
        return _boxes_problem(prompt)
    problem = _letter_problem(prompt)
    if problem or prompt.task is Task.MULTIPLE_CHOICE:
        return problem
    intervals = prompt.target.get("intervals")
    if not isinstance(intervals, list) or not intervals:
        return "target.intervals must be a non-empty list of [start, end]"
    return next((p for p in (_interval_problem(i, prompt.duration) for i in intervals) if p), None)


def _interval_problem(interval: Any, duration: float) -> str | None:
    if not _numbers(interval, 2):
        return f"target interval must be [start, end] in seconds, found {interval!r}"
    start, end = interval
    if not 0 <= start < end:
        return f"target interval {interval} must satisfy 0 <= start < end"
    if start >= duration:
        return f"target interval {interval} starts past the clip's end at {duration} s"
    return None


def _boxes_problem(prompt: VideoPrompt) -> str | None:
    boxes = prompt.target.get("boxes")
    if not isinstance(boxes, list) or len(boxes) != NUM_BOXES or not all(_numbers(box, 4) for box in boxes):
        return f"target.boxes must be {NUM_BOXES} boxes [x0, y0, x1, y1]"
    if prompt.box_frames and len(prompt.box_frames) != NUM_BOXES:
        return f"box_frames must name {NUM_BOXES} frames, found {len(prompt.box_frames)}"
    return None


def _letter_problem(prompt: VideoPrompt) -> str | None:
    letter = prompt.target.get("answer")
    letters = "ABCDEFGHIJ"[: len(prompt.options)]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in letters:
        return f"target.answer must be one of {letters or 'the options (none given)'}, found {letter!r}"
    return None


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(isinstance(v, int | float) for v in value)
