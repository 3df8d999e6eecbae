"""Finding the programs that were installed with this interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def put_own_programs_first() -> None:
    """Look for programs beside this process's interpreter first, then along the PATH it was given.

    DeepSpeed and vLLM's kernels are compiled by `ninja`, which the environment brings. Its folder is on the PATH of
    a shell that activated the environment, not of a process that was started by the interpreter's path alone.
    """
    own = str(Path(sys.executable).parent)
    others = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder != own]
    os.environ["PATH"] = os.pathsep.join([own, *others])
