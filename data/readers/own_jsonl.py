"""Our own form: one JSON object per line, described field by field in `docs/datasets.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from data.annotation_lines import annotation_lines, decode_text
from data.readers.entries import Entry, Fields
from data.readers.files import TOO_DEEP, require_shallow
from data.readers.spec import DatasetSpec
from data.readers.videos import Videos
from data.schema import AnnotationError


def entries(spec: DatasetSpec) -> Iterator[Entry]:
    """One entry per line. Raises `OSError` if the file cannot be read."""
    videos = Videos(spec.videos_folder)
    for number, line in annotation_lines(spec.annotations):
        yield Entry(f"{spec.annotations}:{number}", partial(_fields, line, videos))


def _fields(line: bytes, videos: Videos) -> Fields:
    try:
        fields = json.loads(decode_text(line))
    except RecursionError as error:
        raise AnnotationError(TOO_DEEP) from error
    require_shallow(fields)
    if not isinstance(fields, dict):
        raise AnnotationError(f"expected a JSON object, found {type(fields).__name__}")
    video = fields.get("video")
    # What is no path is left for the schema to refuse.
    return fields | {"video": videos.find(video)} if isinstance(video, str) and video else fields
