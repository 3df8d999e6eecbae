"""A video file that a decoder cannot look at, as on a dead network file system."""

from __future__ import annotations

import os
from pathlib import Path

# Looking at NAME/hanging.mp4 hangs for as long as NAME/hanging.mp4.hangs, a pipe that nobody writes to, is there.
HANGING_STAT = """
import os
plain = os.stat
def stat(path, *args, **kwargs):
    if str(path).endswith("hanging.mp4") and os.path.lexists(f"{path}.hangs"):
        open(f"{path}.hangs").read()
    return plain(path, *args, **kwargs)
os.stat = stat
"""


def make_hanging(folder: Path) -> tuple[Path, dict[str, str]]:
    """The file, and the environment of a process whose children hang on it."""
    start = folder / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text(HANGING_STAT)
    path = folder / "hanging.mp4"
    path.write_bytes(b"no video")
    os.mkfifo(f"{path}.hangs")
    return path, {"PYTHONPATH": str(start)}


def heal(hanging: Path, video: Path) -> None:
    """Put a video in the place of the file that hangs."""
    os.replace(video, hanging)
    os.unlink(f"{hanging}.hangs")
