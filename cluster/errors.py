"""Errors that end a run with one message instead of a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the person who started the run can act on; `str()` is the whole message."""

    exit_code = 1


class ConfigError(UserError):
    """The configuration cannot be run: wrong, contradicting itself, or asking for what is not there."""

    exit_code = 2


class RunFailure(UserError):
    """A run that was under way could not go on; the launcher adds the command that resumes it."""
