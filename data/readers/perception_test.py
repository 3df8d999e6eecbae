"""Perception Test: `{video_id: {metadata, mc_question, object_tracking, action_localisation, ...}}`.

Three kinds of prompt are made of it: a multiple-choice question per `mc_question`; a tracking prompt per object with at
least 8 annotated frames, from `initial_tracking_box` on; and a temporal grounding prompt per action whose label occurs
once in its video, so that there is one answer. `options.task` chooses one of the kinds. Boxes are normalised
`[x0, y0, x1, y1]`, timestamps milliseconds.
Source: github.com/google-deepmind/perception_test (README, `baselines/single_object_tracking.ipynb`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, part_of, same_length, take, take_number, take_wording
from data.readers.files import object_entries
from data.readers.options import letter_at
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import NUM_BOXES, AnnotationError

KINDS = {
    "multiple_choice": "mc_question",
    "tracking": "object_tracking",
    "temporal_grounding": "action_localisation",
}


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per prompt; ids are `video/kind/id`. Raises `OSError` if the file cannot be read."""
    task = spec.choice("task", tuple(KINDS))
    yield from object_entries(spec.annotations, partial(_prompts, Videos(spec.videos_folder), task))


def _prompts(videos: Videos, task: str | None, place: str, video: str, about: Any) -> Iterator[Entry]:
    common = {"video": videos.find(video), "duration": _duration(about)}
    for kind, number, make in _parts(about):
        if task and kind != KINDS[task]:
            continue
        yield Entry(f"{place}.{kind}[{number}]", partial(_fields, f"{video}/{kind}", common, make))


def _parts(about: dict[str, Any]) -> Iterator[tuple[str, int, Any]]:
    """Kind and position of everything that a prompt is made of, and what makes its own fields."""
    tracks = enumerate(_list(about, "object_tracking"))
    actions = list(enumerate(_list(about, "action_localisation")))
    labels = Counter(_label(action) for _, action in actions)
    for number, question in enumerate(_list(about, "mc_question")):
        yield "mc_question", number, partial(_question, question)
    for number, track in tracks:
        if _is_long(track):
            yield "object_tracking", number, partial(_track, track, take(about, "metadata", dict))
    for number, action in actions:
        if labels[_label(action)] == 1:
            yield "action_localisation", number, partial(_action, action)


def _fields(prefix: str, common: Fields, make: Any) -> Fields:
    fields, number = make()
    return {**common, **fields, "id": f"{prefix}/{number}"}


def _question(item: Any) -> tuple[Fields, int]:
    options = take(item, "options", list)
    fields = {
        "task": "multiple_choice",
        "question": take(item, "question", str),
        "options": options,
        "target": {"answer": letter_at(take(item, "answer_id", int), options)},
        **part_of(item, "area"),
    }
    return fields, take(item, "id", int)


def _track(item: Any, metadata: Any) -> tuple[Fields, int]:
    boxes, frames = take(item, "bounding_boxes", list), take(item, "frame_ids", list)
    same_length(boxes, frames, "bounding_boxes and frame_ids")
    start = _start(item)
    chosen = [start + k * (len(boxes) - start) // NUM_BOXES for k in range(NUM_BOXES)]
    fields = {
        "task": "tracking",
        "question": f"the {take_wording(item, 'label')}",
        # All of them count, where `is_masked` too: the cup games hide the object on purpose.
        "target": {"boxes": [boxes[index] for index in chosen]},
        "box_frames": [frames[index] for index in chosen],
        "frame_rate": take_number(metadata, "frame_rate"),
    }
    return fields, take(item, "id", int)


def _action(item: Any) -> tuple[Fields, int]:
    times = take(item, "timestamps", list)
    if len(times) != 2:
        raise AnnotationError(f"timestamps must be start and end, found {len(times)} values")
    seconds = [take_number(dict(enumerate(times)), key) / 1000 for key in (0, 1)]  # type: ignore[arg-type]
    fields = {
        "task": "temporal_grounding",
        "question": take(item, "label", str),
        "target": {"interval": seconds},
    }
    return fields, take(item, "id", int)


def _start(item: Any) -> int:
    """Position of the box that tracking starts from: the first where the test split does not say."""
    marks = item.get("initial_tracking_box")
    return marks.index(1) if isinstance(marks, list) and 1 in marks else 0


def _is_long(item: Any) -> bool:
    boxes = item.get("bounding_boxes") if isinstance(item, dict) else None
    # What is no list of boxes is damaged, and its prompt will say so.
    return not isinstance(boxes, list) or len(boxes) - _start(item) >= NUM_BOXES


def _label(item: Any) -> str:
    return str(item.get("label")) if isinstance(item, dict) else ""


def _list(about: dict[str, Any], key: str) -> list[Any]:
    """The annotations of a kind; a split may lack it."""
    found = about.get(key, [])
    return found if isinstance(found, list) else [found]


def _duration(about: Any) -> float:
    """Seconds."""
    metadata = take(about, "metadata", dict)
    frames, rate = take_number(metadata, "num_frames"), take_number(metadata, "frame_rate")
    if not rate > 0:
        raise AnnotationError(f"frame_rate must be positive, found {rate!r:.60}")
    return frames / rate
