"""What names a dataset: its format, its annotations and its videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset as it was published.

    Attributes:
        name: What tables and messages call it.
        format: How the annotations are read, a key of `data.readers.READERS`.
        annotations: The annotation file; a folder for the formats that come as one.
        videos: Folder of the videos; None is the folder the annotations lie in.
        options: Further files or choices that a format asks for, by name: `durations` of Charades-STA.
    """

    name: str
    format: str
    annotations: Path
    videos: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
