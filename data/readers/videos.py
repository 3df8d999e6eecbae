"""From the name of a video in an annotation to its path on this machine."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from data.file_kind import APPLE_DOUBLE
from data.image_frames import IMAGE_SUFFIXES
from data.schema import AnnotationError

# Tried after a name that lacks an extension, or whose video was saved in another container than the annotation says.
EXTENSIONS = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".mpg", ".wmv", ".gif")

# What a name may end in without being part of it; `.5` of `K9_21.5` is none of these.
_CONTAINERS = frozenset({*EXTENSIONS, ".mpeg", ".ts", ".3gp", ".ogv", *IMAGE_SUFFIXES})


class Videos:
    """The videos of a dataset. Looks for each name once.

    Args:
        folder: Where names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self.find = cache(self._find)

    def _find(self, *names: str) -> str:
        """The path of the first of these names that is there, with one of the known extensions if need be.

        Where none is, the path of the first name as it stands; whether a video is there is for others to judge.

        Raises:
            AnnotationError: a name is that of a file that macOS writes beside another.
        """
        if any(os.path.basename(name).startswith(APPLE_DOUBLE) for name in names):
            raise AnnotationError(f"{names[0]!r:.60} is what macOS keeps beside a file, no video")
        paths = [os.path.join(self._folder, name) for name in names]
        stems = [stem for stem, extension in map(os.path.splitext, paths) if extension.lower() in _CONTAINERS]
        guesses = [base + extension for base in (*paths, *stems) for extension in EXTENSIONS]
        there = (path for path in (*paths, *guesses) if os.path.exists(path))
        return os.path.normpath(next(there, paths[0]))
