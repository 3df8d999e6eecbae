"""TimeRFT, the training set of Time-R1: a list of `{video, sentence, timestamp, duration}`, in seconds.

Some entries are about a part of their video, from `video_start` to `video_end`; their times count from its start.
Source: `train_2k5.json` of github.com/xiaomi-research/time-r1; programs that read it give `video_start` and `video_end`
to the video reader, and compare the timestamps with answers about what that reader cut out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, sentence, take, take_number
from data.readers.files import list_entries
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per query. Raises `OSError` if the file cannot be read.

    Videos are looked for by their path in the entry, then by their name alone.
    """
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    path = take(item, "video", str)
    return {
        "id": f"time_r1/{number}",
        "task": "temporal_grounding",
        "video": videos.find(path, path.rpartition("/")[2]),
        "question": sentence(take(item, "sentence", str)),
        "target": {"interval": take(item, "timestamp", list)},
        **_length(item),
    }


def _length(item: Any) -> Fields:
    if item.get("video_start") is None or item.get("video_end") is None:
        return {"duration": take_number(item, "duration")}
    start, end = take_number(item, "video_start"), take_number(item, "video_end")
    return {"span": [start, end], "duration": end - start}
