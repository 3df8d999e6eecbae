"""What names a dataset: its format, its annotations and its videos."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

# As `os.path.expandvars` finds them.
_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+))", re.ASCII)


class DatasetError(ValueError):
    """A specification that no dataset can be read by: an unknown format or option, or something needed is not there."""


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset as it was published.

    Attributes:
        name: What tables and messages call it.
        format: How the annotations are read, a key of `data.readers.READERS`.
        annotations: The annotation file; a folder for the formats that come as one.
        videos: Folder of the videos; None is the folder of the annotations.
        options: Further files or choices, by name, that the format knows: `durations` of Charades-STA.
        unset: Environment variables that its paths name and that are not set; with any, it cannot be read.
    """

    name: str
    format: str
    annotations: Path
    videos: Path | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()

    @classmethod
    def of_texts(
        cls,
        name: str,
        format_: str,
        annotations: str,
        videos: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Self:
        """The dataset that a configuration names: `${CHARADES}` and a leading `~` in its paths are filled in."""
        given = options or {}
        texts = (annotations, videos or "", *given.values())
        named = [braced or plain for text in texts for braced, plain in _VARIABLE.findall(text)]
        return cls(
            name=name,
            format=format_,
            annotations=Path(_filled_in(annotations)),
            videos=Path(_filled_in(videos)) if videos else None,
            options={key: _filled_in(value) for key, value in given.items()},
            unset=tuple(dict.fromkeys(variable for variable in named if variable not in os.environ)),
        )

    @property
    def folder(self) -> Path:
        """Absolute path of the folder that the annotations lie in, or are."""
        path = self.annotations.absolute()
        return path if path.is_dir() else path.parent

    @property
    def videos_folder(self) -> Path:
        """Absolute path of the folder that names of videos are relative to."""
        return self.videos.absolute() if self.videos else self.folder

    def file(self, option: str, default: str) -> Path:
        """A further file: the option's path, or the default's name beside the annotations."""
        return Path(self.options[option]).absolute() if option in self.options else self.folder / default

    def choice(self, option: str, offered: Sequence[str]) -> str | None:
        """What an option chooses among the words offered; None where it is not given.

        Raises:
            DatasetError: it is none of them.
        """
        chosen = self.options.get(option)
        if chosen is not None and chosen not in offered:
            raise DatasetError(
                f"{self.name}: {option} must be one of {', '.join(offered)}, found {chosen!r:.60}"
            )
        return chosen


def _filled_in(path: str) -> str:
    """Without environment variables, which may begin with the home folder as well, and without a `~`."""
    return os.path.expanduser(os.path.expandvars(path))
