"""ActivityNet Captions, and VideoChat-R1's Charades-STA: `{video: {duration, timestamps, sentences}}`, in seconds.

Source: cs.stanford.edu/people/ranjaykrishna/densevid (`train.json`, `val_1.json`, `val_2.json`), and the files that
github.com/OpenGVLab/VideoChat-R1 releases in the same form.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, broken, same_length, sentence, take
from data.readers.files import DamagedFile, read_object
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per sentence; ids are `VIDEO/n`. Raises `OSError` if the file cannot be read."""
    try:
        content, repeated = read_object(spec.annotations)
    except DamagedFile as damage:
        yield damage.entry
        return
    yield from repeated
    videos = Videos(spec.videos_folder)
    for video, about in content.items():
        place = f"{spec.annotations}[{video}]"
        try:
            count = _count(about)
        except AnnotationError as error:
            yield broken(place, str(error))
            continue
        for number in range(count):
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
