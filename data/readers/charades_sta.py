"""Charades-STA as published: `VIDEO start end##query.` a line, in seconds or
clock times; durations are in the CSV files of Charades.

Source: github.com/jiyanggao/TALL (`charades_sta_train.txt`, `charades_sta_test.txt`) and the annotations of Charades
(`Charades_v1_train.csv`, `Charades_v1_test.csv`: columns `id` and `length`, among others).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from data.readers.entries import Entry, Fields, broken, read_time, sentence
from data.readers.files import DamagedFile, read_lines, read_table
from data.readers.spec import DatasetError, DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError

DURATIONS = "durations"
DURATION_FILES = ("Charades_v1_train.csv", "Charades_v1_test.csv")


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per line; ids are `VIDEO/n`, n counting the queries of a video.

    Raises:
        DatasetError: no file of durations is named by `options.durations` or lies beside the annotations.
        OSError: a file cannot be read.
    """
    durations: dict[str, str] = {}
    for path in _duration_files(spec):
        try:
            durations |= {row.get("id", ""): row.get("length", "") for _, row in read_table(path)}
        except DamagedFile as damage:
            yield damage.entry
    videos, queries = Videos(spec.videos_folder), Counter[str]()
    for place, line in read_lines(spec.annotations):
        if isinstance(line, AnnotationError):
            yield broken(place, str(line))
            continue
        video = next(iter(line.split()), "")
        yield Entry(place, partial(_fields, line, f"{video}/{queries[video]}", durations, videos))
        queries[video] += 1


def _duration_files(spec: DatasetSpec) -> list[Path]:
    if DURATIONS in spec.options:
        return [Path(spec.options[DURATIONS])]
    found = [spec.folder / name for name in DURATION_FILES if (spec.folder / name).is_file()]
    if not found:
        names = " nor ".join(DURATION_FILES)
        raise DatasetError(f"{spec.name}: neither {names} lies in {spec.folder}; give options.{DURATIONS}")
    return found


def _fields(line: str, name: str, durations: dict[str, str], videos: Videos) -> Fields:
    head, mark, query = line.partition("##")
    parts = head.split()
    if not mark or len(parts) != 3:
        raise AnnotationError("expected `VIDEO start end##query`")
    video, start, end = parts
    if video not in durations:
        raise AnnotationError(f"the files of durations have no {video}")
    return {
        "id": name,
        "task": "temporal_grounding",
        "video": videos.find(video),
        "question": sentence(query),
        "duration": read_time(durations[video], "length"),
        "target": {"interval": [read_time(start, "start"), read_time(end, "end")]},
    }
