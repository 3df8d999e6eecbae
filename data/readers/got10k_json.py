"""VideoChat-R1's form of GoT-10k: a list of `{path, object, gt}`, gt being 8 normalised boxes `[x0, y0, x1, y1]`.

Source: `got_val.json` of github.com/OpenGVLab/VideoChat-R1. The file does not say which frames its boxes belong to, so
the prompts name none; where that matters, read the original folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from data.readers.entries import Entry, Fields, take
from data.readers.files import list_entries
from data.readers.got10k import FRAME_RATE
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per sequence; its folder is looked for by its name. Raises `OSError` if the file cannot be read."""
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    path, name = take(item, "path", str), take(item, "object", str)
    sequence = PurePosixPath(path).name
    return {
        "id": sequence,
        "task": "tracking",
        "video": videos.find(sequence),
        "question": f"the {name}",
        "target": {"boxes": take(item, "gt", list), "class": name},
        "frame_rate": FRAME_RATE,
    }
