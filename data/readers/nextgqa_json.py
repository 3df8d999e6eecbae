"""VideoChat-R1's form of NExT-GQA: a list of questions with options `(A) ...`, an answer `(C)` and evidence in `glue`.

Source: `nextgqa_val.json` and `nextgqa_test.json` of github.com/OpenGVLab/VideoChat-R1.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, part_of, take
from data.readers.files import list_entries
from data.readers.options import letter_in, without_labels
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per question. Raises `OSError` if the file cannot be read."""
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    path = take(item, "video", str)
    return {
        "id": take(item, "id", object),
        "task": "grounded_qa",
        "video": videos.find(path, path.rpartition("/")[2]),
        "question": take(item, "question", object),
        "duration": take(item, "duration", object),
        "options": without_labels(take(item, "options", list)),
        "target": {"answer": letter_in(take(item, "answer", str)), "intervals": take(item, "glue", list)},
        **part_of(item, "type"),
    }
