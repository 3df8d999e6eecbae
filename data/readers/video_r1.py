"""Video-R1-260k: a list of problems of five types about videos and images, each answer in `<answer>` tags.

Entries hold problem, data_type (video or image), problem_type, options (`A. ...`), solution and path, among others.
Source: huggingface.co/datasets/Video-R1/Video-R1-data (`Video-R1-260k.json`), read by github.com/tulerfeng/Video-R1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, read_number, take
from data.readers.files import list_entries
from data.readers.options import letter_in, without_labels
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError
from rewards.paper import first_block


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per problem; ids are `video_r1/n`, n its position. Raises `OSError` if the file cannot be read."""
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    kind, solution = take(item, "problem_type", str), take(item, "solution", str)
    answer = first_block(solution, "answer")
    if kind not in _TASKS:
        raise AnnotationError(f"problem_type must be one of {', '.join(_TASKS)}, found {kind!r:.60}")
    if answer is None:
        raise AnnotationError(f"the solution has no <answer>: {solution!r:.60}")
    task, read = _TASKS[kind]
    return {
        "id": f"video_r1/{number}",
        "task": task,
        "video": videos.find(take(item, "path", str)),
        "question": take(item, "problem", str),
        "target": read(answer.strip()),
        **({"options": without_labels(take(item, "options", list))} if task == "multiple_choice" else {}),
    }


def _letter(answer: str) -> Fields:
    return {"answer": letter_in(answer)}


def _number(answer: str) -> Fields:
    return {"number": read_number(answer, "the answer")}


def _text(answer: str) -> Fields:
    return {"text": answer}


# Of each problem type, our task and what reads its target.
_TASKS: Mapping[str, tuple[str, Callable[[str], Fields]]] = {
    "multiple choice": ("multiple_choice", _letter),
    "numerical": ("numerical", _number),
    "OCR": ("ocr", _text),
    "free-form": ("free_form", _text),
    "regression": ("regression", _number),
}
