"""NExT-GQA as published: questions in a CSV file, evidence intervals and paths of the videos in JSON files.

`val.csv`: columns video_id, question, answer (text), qid, type, a0 to a4, among others. `gsub_val.json`:
`{video_id: {duration, location: {qid: [[start, end], ...]}}}`. `map_vid_vidorID.json`: `{video_id: "1101/5462..."}`.
Source: github.com/doc-doc/NExT-GQA (`datasets/nextgqa/README.md`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, part_of, take
from data.readers.files import DamagedFile, read_object, read_table
from data.readers.options import letter_of
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError

OPTIONS = tuple(f"a{number}" for number in range(5))
SPANS, VIDEO_MAP = "spans", "video_map"
TASKS = ("grounded_qa", "multiple_choice")


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per row of the CSV file; ids are `VIDEO_qid`. Raises `OSError` if a file cannot be read.

    The other two files lie beside it, or are named by `options.spans` and `options.video_map`. With
    `options.task: multiple_choice` the evidence is left out, and the answer is a letter alone.
    """
    task = spec.choice("task", TASKS) or "grounded_qa"
    try:
        spans, repeated_spans = read_object(spec.file(SPANS, f"gsub_{spec.annotations.stem}.json"))
        paths, repeated_paths = read_object(spec.file(VIDEO_MAP, "map_vid_vidorID.json"))
        yield from (*repeated_spans, *repeated_paths)
        videos = Videos(spec.videos_folder)
        for place, row in read_table(spec.annotations):
            yield Entry(place, partial(_fields, row, task, spans, paths, videos))
    except DamagedFile as damage:
        yield damage.entry


def _fields(
    row: Mapping[str, str],
    task: str,
    spans: Mapping[str, Any],
    paths: Mapping[str, Any],
    videos: Videos,
) -> Fields:
    missing = [key for key in ("video_id", "qid", "question", "answer", *OPTIONS) if key not in row]
    if missing:
        raise AnnotationError(f"missing {', '.join(missing)}")
    video, question = row["video_id"], row["qid"]
    options = [row[key] for key in OPTIONS]
    about = take(spans, video, dict)
    evidence = {"intervals": take(take(about, "location", dict), question, list)}
    return {
        "id": f"{video}_{question}",
        "task": task,
        "video": videos.find(f"{take(paths, video, str)}.mp4", f"{video}.mp4"),
        "question": row["question"],
        "duration": take(about, "duration", object),
        "options": options,
        "target": {
            "answer": letter_of(row["answer"], options),
            **(evidence if task == "grounded_qa" else {}),
        },
        **part_of(row, "type"),
    }
