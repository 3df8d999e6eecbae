"""Errors that end a run with one message instead of a traceback."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """Something the person who started the run can act on; `str()` is the whole message.

    Attributes:
        resumable: Whether the same command can go on where it ended; the launcher then says how.
    """

    exit_code = 1
    resumable = False


class ConfigError(UserError):
    """The configuration cannot be run: wrong, contradicting itself, or asking for what is not there."""

    exit_code = 2


class RunFailure(UserError):
    """A run that was under way could not go on; the launcher adds the command that resumes it."""

    resumable = True


class RunFolderGone(RunFailure):
    """The folder of a run that is under way is not where it was: there is nowhere to write and nothing to resume."""

    resumable = False

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is gone: it was deleted, moved or replaced while its run was under way. The run ends here, for "
            "what it wrote since is lost. Start it anew; a folder that was moved can be moved back and gone on with."
        )
