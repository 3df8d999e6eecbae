"""The annotation schema: one JSON object per line, one line per prompt.

Every reader of a public dataset and the synthetic generator produce this form, so nothing downstream knows where a
prompt came from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

NUM_BOXES = 8
LETTERS = "ABCDEFGHIJ"
# A frame index beyond this is a mistake in any video, and does not fit the decoder's integers.
MAX_FRAME = 2**31 - 1

_LARGEST = sys.float_info.max


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
        windows: Parts of the clip, in seconds, to sample denser. Not of the annotation: `data.perception` sets them.
    """

    id: str
    task: Task
    video: str
    question: str
    target: Mapping[str, Any]
    duration: float
    options: tuple[str, ...] = ()
    box_frames: tuple[int, ...] = ()
    windows: tuple[tuple[float, float], ...] = ()

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
        OSError: the file cannot be read.
        UnicodeDecodeError: it is not UTF-8.
    """
    folder = Path(path).absolute().parent
    prompts: list[VideoPrompt] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, line in _lines(path):
        try:
            prompt = parse_prompt(json.loads(line), folder)
            if prompt.id in seen:
                raise AnnotationError(f"id {prompt.id!r} was used on an earlier line")
        # What json makes of a line beyond its own error: a number of 5,000 digits, brackets a thousand deep.
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        seen.add(prompt.id)
        prompts.append(prompt)
    return prompts, problems


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """The lines that say something, numbered from 1; only a newline ends one, not any Unicode separator in a text."""
    with Path(path).open(encoding="utf-8", newline="\n") as file:
        yield from ((number, line) for number, line in enumerate(file, start=1) if line.strip())


def write_annotations(path: str | Path, prompts: Iterable[VideoPrompt]) -> None:
    """Write prompts one JSON object per line, in order."""
    lines = [json.dumps(prompt.to_json(), ensure_ascii=False) for prompt in prompts]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def parse_prompt(fields: Any, folder: Path) -> VideoPrompt:
    """Build a prompt from its JSON object.

    Raises:
        AnnotationError: a field is missing, of the wrong type, or contradicts the task.
    """
    problem = _fields_problem(fields)
    if problem:
        raise AnnotationError(problem)
    prompt = VideoPrompt(
        id=str(fields["id"]),
        task=Task(fields["task"]),
        video=str(folder / fields["video"]),
        question=fields["question"],
        target=fields["target"],
        duration=float(fields["duration"]),
        options=tuple(str(option) for option in fields.get("options", ())),
        box_frames=tuple(fields.get("box_frames", ())),
    )
    problem = target_problem(prompt)
    if problem:
        raise AnnotationError(problem)
    return prompt


def target_problem(prompt: VideoPrompt) -> str | None:
    """Why a prompt cannot be scored against its target, or None.

    What passes here passes `rewards.targets.read_target` too, which judges a target's shape and not its values.
    """
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


def _fields_problem(fields: Any) -> str | None:
    """What is wrong with the fields of a JSON object, each looked at by itself."""
    if not isinstance(fields, dict):
        return f"expected a JSON object, found {type(fields).__name__}"
    missing = [key for key in _FIELDS if key not in fields and key not in _OPTIONAL]
    if missing:
        return f"missing {', '.join(missing)}"
    for key, (is_usable, wanted) in _FIELDS.items():
        if key in fields and not is_usable(fields[key]):
            return f"{key} must be {wanted}, found {fields[key]!r:.60}"
    return None


def _interval_problem(interval: Any, duration: float) -> str | None:
    if not _is_numbers(interval, 2):
        return f"target interval must be [start, end] in seconds, found {interval!r:.60}"
    start, end = interval
    if not 0 <= start < end:
        return f"target interval {interval} must satisfy 0 <= start < end"
    if start >= duration:
        return f"target interval {interval} starts past the clip's end at {duration} s"
    return None


def _boxes_problem(prompt: VideoPrompt) -> str | None:
    boxes = prompt.target.get("boxes")
    if (
        not isinstance(boxes, list)
        or len(boxes) != NUM_BOXES
        or not all(_is_numbers(box, 4) for box in boxes)
    ):
        return f"target.boxes must be {NUM_BOXES} boxes [x0, y0, x1, y1]"
    outside = next((box for box in boxes if not _covers_something(box)), None)
    if outside:
        return f"target box {outside} covers nothing of the frame: inverted, empty, or not normalised to 0-1"
    if prompt.box_frames and len(prompt.box_frames) != NUM_BOXES:
        return f"box_frames must name {NUM_BOXES} frames, found {len(prompt.box_frames)}"
    return None


def _letter_problem(prompt: VideoPrompt) -> str | None:
    letter = prompt.target.get("answer")
    letters = LETTERS[: len(prompt.options)]
    if not isinstance(letter, str) or len(letter) != 1 or letter not in letters:
        return f"target.answer must be one of {letters or 'the options (none given)'}, found {letter!r:.60}"
    return None


def _covers_something(box: list[float]) -> bool:
    """Whether a box has an area within 0-1; predictions are cut to that before they are compared."""
    x0, y0, x1, y1 = box
    return max(x0, 0) < min(x1, 1) and max(y0, 0) < min(y1, 1)


def _is_numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number that fits a float; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST


def _is_duration(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written: JSON may hold half a surrogate pair, UTF-8 cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_name(value: Any) -> bool:
    return _is_text(value) or type(value) is int


def _is_path(value: Any) -> bool:
    return _is_text(value) and value != "" and "\0" not in value


def _is_task(value: Any) -> bool:
    return isinstance(value, str) and value in list(Task)


def _is_target(value: Any) -> bool:
    return isinstance(value, dict)


def _is_options(value: Any) -> bool:
    fits = isinstance(value, list) and len(value) <= len(LETTERS)
    return fits and all(_is_text(option) or _is_number(option) for option in value)


def _is_frames(value: Any) -> bool:
    return isinstance(value, list) and all(type(index) is int and 0 <= index <= MAX_FRAME for index in value)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_name, "text or a whole number"),
    "task": (_is_task, f"one of {', '.join(Task)}"),
    "video": (_is_path, "the path of a clip"),
    "question": (_is_text, "text"),
    "duration": (_is_duration, "a positive number of seconds"),
    "target": (_is_target, "an object"),
    "options": (_is_options, f"a list of at most {len(LETTERS)} texts"),
    "box_frames": (_is_frames, "a list of frame numbers"),
}
_OPTIONAL = ("options", "box_frames")
