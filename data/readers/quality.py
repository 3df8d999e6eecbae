"""VidTAB's quality assessment: a list of `{video, instruction, answer}`, the instruction naming the labels allowed.

Source: `quality_100shot.json` and its siblings, as github.com/OpenGVLab/VideoChat-R1 uses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from data.readers.entries import Entry, Fields, take
from data.readers.files import list_entries
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError

# `... point of view? Choice one answer from ['low quality', 'high quality'].`
_CHOICE = "Choice one answer from ["
_LABEL = re.compile(r"'([^']*)'")


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per video. Raises `OSError` if the file cannot be read."""
    return list_entries(spec.annotations, partial(_fields, Videos(spec.videos_folder)))


def _fields(videos: Videos, item: Any, number: int) -> Fields:
    instruction = take(item, "instruction", str)
    question, asked, labels = instruction.rstrip().removesuffix(".").partition(_CHOICE)
    if not asked or not labels.endswith("]"):
        raise AnnotationError(f"the instruction names no labels to choose from: {instruction!r:.60}")
    return {
        "id": f"quality/{number}",
        "task": "quality",
        "video": videos.find(take(item, "video", str)),
        "question": question.rstrip(),
        "options": _LABEL.findall(labels),
        "target": {"label": take(item, "answer", str)},
    }
