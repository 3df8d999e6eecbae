"""ActivityNet Captions, and VideoChat-R1's Charades-STA: `{video: {duration, timestamps, sentences}}`, in seconds.

Source: cs.stanford.edu/people/ranjaykrishna/densevid (`train.json`, `val_1.json`, `val_2.json`), and the files that
github.com/OpenGVLab/VideoChat-R1 releases in the same form.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, same_length, sentence, take
from data.readers.files import object_entries
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per sentence; ids are `VIDEO/n`. Raises `OSError` if the file cannot be read."""
    yield from object_entries(spec.annotations, partial(_sentences, Videos(spec.videos_folder)))


def _sentences(videos: Videos, place: str, video: str, about: Any) -> Iterator[Entry]:
    for number in range(_count(about)):
        yield Entry(f"{place}[{number}]", partial(_fields, video, about, number, videos))


def _count(about: Any) -> int:
    """How many sentences a video has, each with its interval."""
    timestamps, sentences = take(about, "timestamps", list), take(about, "sentences", list)
    same_length(timestamps, sentences, "timestamps and sentences")
    return len(sentences)


def _fields(video: str, about: dict[str, Any], number: int, videos: Videos) -> Fields:
    text = about["sentences"][number]
    return {
        "id": f"{video}/{number}",
        "task": "temporal_grounding",
        "video": videos.find(video),
        "question": sentence(text) if isinstance(text, str) else text,
        "duration": take(about, "duration", object),
        "target": {"interval": about["timestamps"][number]},
    }
