"""Video-MME: a parquet file with a question a row, options `A. ...` and the letter of the right one.

Columns used: question_id, videoID, question, options, answer, duration, which is short, medium or long, not seconds.
Source: the card of huggingface.co/datasets/lmms-lab/Video-MME (`videomme/test-00000-of-00001.parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, broken, part_of, take
from data.readers.options import letter_in, without_labels
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from rewards.files import MAX_FILE_BYTES, read_file

COLUMNS = ["question_id", "videoID", "question", "options", "answer", "duration"]
LENGTHS = ("short", "medium", "long")


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per row, or per row of `options.length` alone. Raises `OSError` if there is no such file."""
    length = spec.choice("length", LENGTHS)
    # Only here: no other format needs it, and it takes a while to import.
    import pyarrow
    import pyarrow.parquet

    content = read_file(spec.annotations, MAX_FILE_BYTES)
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(content), columns=COLUMNS)
        table.validate(full=True)
        rows = table.to_pylist()
    # Arrow's own errors are ValueError, OSError and others; a text that is not UTF-8 is found when it is made one.
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        yield broken(
            str(spec.annotations), f"not the parquet file of Video-MME: {str(error).splitlines()[0]}"
        )
        return
    videos = Videos(spec.videos_folder)
    for number, row in enumerate(rows):
        if length is None or row["duration"] == length:
            yield Entry(f"{spec.annotations}[{number}]", partial(_fields, row, videos))


def _fields(row: Mapping[str, Any], videos: Videos) -> Fields:
    return {
        "id": take(row, "question_id", str),
        "task": "multiple_choice",
        "video": videos.find(take(row, "videoID", str)),
        "question": take(row, "question", str),
        "options": without_labels(take(row, "options", list)),
        "target": {"answer": letter_in(take(row, "answer", str))},
        **part_of(row, "duration"),
    }
