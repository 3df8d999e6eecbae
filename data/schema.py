"""The annotation schema: one JSON object per line, one line per prompt.

Every reader of a public dataset and the synthetic generator produce this form, so nothing downstream knows where a
prompt came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import EnumMeta, StrEnum
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.sampling import Windows
from rewards.plain import says_something
from rewards.targets import are_numbers, is_number
from rewards.tasks import SPECS
from rewards.tasks.tracking import NUM_BOXES as NUM_BOXES

LETTERS = "ABCDEFGHIJ"
# Stand for a clip in the text of a prompt, which holds one: neither an annotation nor a response may have its own.
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
# A moment in a question may be this far from that of its frame: seconds, or share of the time since the first box.
# Rates are rounded (30 for 29.97), and evenly spaced frame numbers are whole.
BOX_TOLERANCE_S, BOX_TOLERANCE = 0.25, 0.02
# A frame index beyond this is a mistake in any video, and does not fit the decoder's integers.
MAX_FRAME = 2**31 - 1


class _NamedAfterTasks(EnumMeta):
    if TYPE_CHECKING:  # the members are only known when the registry is read

        def __getattr__(cls, name: str) -> Task: ...


class Task(StrEnum, metaclass=_NamedAfterTasks):
    """The kinds of question a prompt can ask: those of `rewards.tasks`, such as `Task.TRACKING`."""

    vars().update({name.upper(): name for name in SPECS})


# What of which video is a clip: the video, its box frames, span, frame rate and windows, as `VideoPrompt` has them.
ClipKey = tuple[str, tuple[int, ...], tuple[float, float] | None, float | None, Windows]


class AnnotationError(ValueError):
    """An annotation line that cannot be used; the message names file, line and reason."""


@dataclass(frozen=True)
class VideoPrompt:
    """One question about one clip, with the answer the rewards compare against.

    Attributes:
        id: Unique within a dataset.
        task: Which task the question belongs to.
        video: Path of the clip, absolute or relative to the annotation file: a video file, a folder of images (its
            frames, in the order of their names) or one image.
        question: What is asked, without any format instruction: an event, a question or an object description.
        target: The right answer in the form of its task (docs/tasks.md), such as `{"interval": [s, e]}`; times in
            seconds, boxes normalised to 0-1.
        duration: Length of the clip in seconds; None where a dataset does not say. Tasks with times need it.
        options: Answer texts of a choice question, in letter order, without their letters.
        box_frames: For tracking, the frame index in the source video of each of the 8 boxes.
        span: The part of the source video, `[start, end)` in seconds, that is the clip: frames are sampled from it
            alone, `duration` is its length, and times in the target count from its start. None is the whole video.
        frame_rate: Frames per second of a folder of images, which cannot say so itself; of a video file it only tells
            the seconds of `box_frames`.
        part: Name of the part of a benchmark that the prompt belongs to, for figures by part: `action_antonym`.
        windows: Parts of the clip, in seconds from its start, to sample denser. Not of the annotation:
            `data.perception` sets them.
    """

    id: str
    task: Task
    video: str
    question: str
    target: Mapping[str, Any]
    duration: float | None
    options: tuple[str, ...] = ()
    box_frames: tuple[int, ...] = ()
    span: tuple[float, float] | None = None
    frame_rate: float | None = None
    windows: Windows = ()
    part: str = ""

    @property
    def first_box(self) -> list[float]:
        """The box that a tracking prompt gives away."""
        return list(self.target["boxes"][0])

    @property
    def box_times(self) -> tuple[float, ...]:
        """When each box of a track is, seconds from the first, which the clip starts at; empty where unknown."""
        if self.frame_rate is None:
            return ()
        return tuple((frame - self.box_frames[0]) / self.frame_rate for frame in self.box_frames)

    @property
    def clip_key(self) -> ClipKey:
        """What decides the clip. Prompts with equal keys share one; the arguments of `data.decoder`, in order."""
        return self.video, self.box_frames, self.span, self.frame_rate, self.windows

    @property
    def clip_name(self) -> str:
        """What messages call the clip: its video, and which part of it."""
        return f"{self.video} from {self.span[0]:g} to {self.span[1]:g} s" if self.span else self.video

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
            "span": list(self.span or ()),
            "frame_rate": self.frame_rate,
            "part": self.part or None,
        }
        return {key: value for key, value in fields.items() if value not in ([], None)}


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
    span = (float(fields["span"][0]), float(fields["span"][1])) if "span" in fields else None
    duration = fields.get("duration", span and span[1] - span[0])
    prompt = VideoPrompt(
        id=str(fields["id"]),
        task=Task(fields["task"]),
        video=str(folder / fields["video"]),
        question=fields["question"],
        target=fields["target"],
        duration=None if duration is None else float(duration),
        options=tuple(str(option) for option in fields.get("options", ())),
        box_frames=tuple(fields.get("box_frames", ())),
        span=span,
        frame_rate=float(fields["frame_rate"]) if "frame_rate" in fields else None,
        part=fields.get("part", ""),
    )
    problem = target_problem(prompt)
    if problem:
        raise AnnotationError(problem)
    return prompt


def misspelt_fields(fields: Mapping[str, Any]) -> Iterator[str]:
    """What is said of keys that are no fields and nearly one that is missing. Other keys are an annotation's own."""
    absent = [key for key in _FIELDS if key not in fields]
    for key in fields:
        if key not in _FIELDS and (meant := get_close_matches(key, absent, n=1, cutoff=0.75)):
            yield f"there is no field {key!r:.40}; did you mean {meant[0]}?"


def target_problem(prompt: VideoPrompt) -> str | None:
    """Why a prompt cannot be scored against its target, or None.

    What passes here passes `rewards.scoring.read_target` too, which judges a target's shape and not its values.
    """
    return SPECS[prompt.task].problem(prompt)


def decoded_problem(
    prompt: VideoPrompt, seconds: float, box_times: Sequence[float] = (), starts_at: float = 0.0
) -> str | None:
    """Why a prompt cannot be scored now that its clip is decoded, whatever is listed, or None.

    Args:
        seconds: How long the clip is.
        box_times: When its box frames appear, seconds from the first of them.
        starts_at: When its picture starts, seconds.
    """
    problem = target_problem(replace(prompt, duration=seconds)) or _box_time_problem(prompt, box_times)
    intervals = [prompt.target.get("interval"), *prompt.target.get("intervals", [])]
    unseen = [interval for interval in intervals if interval and interval[1] <= starts_at]
    if not problem and unseen and starts_at:
        problem = f"target interval {unseen[0]} ends before the picture starts at {starts_at:g} s"
    return problem and f"{problem}, as {prompt.clip_name} decodes"


def _box_time_problem(prompt: VideoPrompt, box_times: Sequence[float]) -> str | None:
    """Whether the question names other moments for its boxes than those of the frames they belong to.

    Without a frame rate it calls the moments evenly spaced where the frame numbers are.
    """
    gaps = [later - earlier for earlier, later in pairwise(prompt.box_frames)]
    named = prompt.box_times
    if not named and box_times and max(gaps) - min(gaps) <= 1:
        named = tuple(number * box_times[-1] / len(gaps) for number in range(len(box_times)))
    for number, (told, true) in enumerate(zip(named, box_times, strict=False)):
        if abs(told - true) > max(BOX_TOLERANCE_S, BOX_TOLERANCE * true):
            why = f"frame_rate {prompt.frame_rate:g}" if prompt.frame_rate else "their even frame numbers"
            apart = f"box_frames[{number}] is {true:.2f} s after the first one"
            return f"{apart}, by {why} the question would say {told:.2f} s"
    return None


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


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and are_numbers(value) and 0 <= value[0] < value[1]


def _is_text(value: Any) -> bool:
    """Whether a value is a text that can be written: JSON may hold half a surrogate pair, UTF-8 cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_wording(value: Any) -> bool:
    return _is_text(value) and says_something(value) and not any(token in value for token in VISION_TOKENS)


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
    return fits and all(_is_wording(option) or is_number(option) for option in value)


def _is_frames(value: Any) -> bool:
    return isinstance(value, list) and all(type(index) is int and 0 <= index <= MAX_FRAME for index in value)


_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "id": (_is_name, "text or a whole number"),
    "task": (_is_task, f"one of {', '.join(Task)}"),
    "video": (_is_path, "the path of a clip"),
    "question": (_is_wording, "text that is not blank, without vision tokens"),
    "duration": (_is_positive, "a positive number of seconds"),
    "target": (_is_target, "an object"),
    "options": (
        _is_options,
        f"a list of at most {len(LETTERS)} texts that are not blank, without vision tokens",
    ),
    "box_frames": (_is_frames, "a list of frame numbers"),
    "span": (_is_span, "[start, end] in seconds, 0 <= start < end"),
    "frame_rate": (_is_positive, "a positive number of frames per second"),
    "part": (_is_text, "text"),
}
_OPTIONAL = ("duration", "options", "box_frames", "span", "frame_rate", "part")
