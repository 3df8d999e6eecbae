"""LongVideoBench: a list of questions `{id, video_path, question, candidates, correct_choice, duration, ...}`.

`correct_choice` is the position of the right candidate; `lvb_test_wo_gt.json`, the test split, does not have it.
`duration_group` is the upper end, in seconds, of the range of lengths that scores are given for: 15, 60, 600 or 3600.
Questions are asked of the video alone, without the subtitles that come with it and that some questions are about.
Source: github.com/longvideobench/LongVideoBench (README, `longvideobench/longvideobench_dataset.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, take, take_number
from data.readers.files import list_entries
from data.readers.options import letter_at
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per question. Raises `OSError` if the file cannot be read."""
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    candidates = take(item, "candidates", list)
    return {
        "id": take(item, "id", str),
        "task": "multiple_choice",
        "video": videos.find(take(item, "video_path", str)),
        "question": take(item, "question", str),
        "duration": take_number(item, "duration"),
        "options": candidates,
        "target": {"answer": letter_at(take(item, "correct_choice", int), candidates)},
        "part": f"up to {take_number(item, 'duration_group'):g} s",
    }
