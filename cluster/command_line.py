"""What the commands share: their arguments, their configuration, and an end by a message, never by a traceback."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cluster.errors import UserError
from data.failures import ActorFailure

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.config.loading import LoadedConfig

INTERRUPTED = 130
# What a disk refuses, and what helps.
OF_THE_DISK = {
    errno.ENOSPC: "Make room on that disk.",
    errno.EDQUOT: "Make room within your quota.",
    errno.EROFS: "That file system is mounted read-only.",
    errno.EACCES: "Let this user write there.",
    errno.EPERM: "Let this user write there.",
    errno.EIO: "The disk or its network does not answer.",
    errno.ESTALE: "The network file system has lost it; mount it anew.",
}
NEEDS_DRY_RUN = "--gpu-gib says what a plan is made for; give --dry-run too"

ConfigFile = Annotated[Path, typer.Option("--config", help="YAML file of the run.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="section.field=value, the value in YAML.", show_default=False)
]
GpuGib = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        help="Memory of a GPU that the plan of --dry-run is held against, GiB; else this machine's, or common sizes.",
        show_default=False,
    ),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(
        help="Who answers, in place of model.path: a run's folder, a Hugging Face folder, or a Hub id.",
        show_default=False,
    ),
]


def command_app() -> typer.Typer:
    """A command that takes `Overrides` and leaves what nobody foresaw to Python's own traceback."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@contextmanager
def ended_by_a_message(again: str) -> Iterator[None]:
    """End the command with a message if what happens inside fails or is interrupted, by SIGTERM or SIGHUP too.

    Args:
        again: How the command goes on where it ended; said wherever it can.
    """
    _take_signals()
    try:
        yield
    except UserError as error:
        _leave(f"{error}\n{again}" if error.resumable else str(error), error.exit_code)
    except ActorFailure as error:
        _leave(f"{error}\n{again}", UserError.exit_code)
    except KeyboardInterrupt:
        _leave(f"Interrupted. {again}", INTERRUPTED)
    except OSError as error:
        if error.errno not in OF_THE_DISK:
            say(again, is_error=True)
            raise
        _leave(f"A file cannot be used: {error}. {OF_THE_DISK[error.errno]}\n{again}", UserError.exit_code)
    except Exception:
        # Nobody foresaw it, so its traceback follows.
        say(again, is_error=True)
        raise


def policy_config(
    path: Path,
    overrides: Sequence[str],
    checkpoint: str | None,
    change: Callable[[RunConfig], RunConfig],
    useless: Collection[str] = (),
) -> RunConfig:
    """The configuration of a run, changed for a command that only samples from its policy, or from `checkpoint`.

    Args:
        checkpoint: A run's folder, a Hugging Face folder, or a Hub id.
        change, useless: See `read_config`.

    Raises:
        ConfigError: with every mistake in one message, what it names and is not there among them.
    """
    from cluster.planning.existence import missing_things
    from cluster.runtime.environment import environment_problems

    loaded = read_policy_config(path, overrides, checkpoint, change, useless)
    loaded.add([*missing_things(loaded.config), *environment_problems(loaded.config)])
    if loaded.problems:
        raise loaded.error(loaded.problems)
    return loaded.config


def read_policy_config(
    path: Path,
    overrides: Sequence[str],
    checkpoint: str | None,
    change: Callable[[RunConfig], RunConfig],
    useless: Collection[str] = (),
) -> LoadedConfig:
    """The same with its mistakes so far; what it names need not be there."""
    from cluster.config.loading import read_config

    policy = [f"model.path={json.dumps(_policy_of(checkpoint))}"] if checkpoint else []
    return read_config(path, [*overrides, *policy], change, useless)


def _policy_of(checkpoint: str) -> str:
    """A run's folder stands for the policy that it left."""
    policy = Path(os.path.expanduser(checkpoint)) / "policy"
    return str(policy) if policy.is_dir() else checkpoint


def say(text: str, is_error: bool = False) -> None:
    """Print a text that may quote data; see `rewards.terminal.say`, which `--help` need not wait for."""
    from rewards import terminal

    terminal.say(text, is_error)


def _take_signals() -> None:
    """SIGTERM, and SIGHUP of a closed terminal unless `nohup` has it ignored, end the command as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    raise KeyboardInterrupt


def _leave(message: str, code: int) -> NoReturn:
    say(message, is_error=True)
    raise typer.Exit(code)
