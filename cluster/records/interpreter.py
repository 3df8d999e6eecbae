"""How this Python is called again: what a printed command has to begin with to work where it is printed."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def interpreter() -> str:
    """`python` where PATH leads to this interpreter, else its path, relative if it lies below the working folder.

    Without an activated environment PATH leads to another Python, or to none.
    """
    found = shutil.which("python")
    if found and _is_this(found):
        return "python"
    path, here = Path(sys.executable), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _is_this(path: str) -> bool:
    """Whether a path leads to this interpreter. Environments of one Python link to the same file from their folders."""
    folders = (os.path.realpath(os.path.dirname(name)) for name in (path, sys.executable))
    return os.path.samefile(path, sys.executable) and len(set(folders)) == 1
