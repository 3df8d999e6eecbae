"""Whether runs belong into one table: what decides what they came to, from the configurations in their folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cluster.config.stored import CONFIG_FILE, binding_values, read_stored
from cluster.errors import UserError
from cluster.records.kept_settings import differences

# What runs of one table may differ in.
SEED = "run.seed"


class NotAlike(UserError):
    """Runs that do not belong into one table."""


def run_settings(run: Path) -> dict[str, Any] | None:
    """What decides what a run came to, by dotted key; None where no configuration is kept.

    Args:
        run: Its folder, or its `results.json`.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    path = (run.parent if run.suffix == ".json" else run) / CONFIG_FILE
    if not path.exists():
        return None
    config = read_stored(path)
    # A run that resumes may take more steps, but runs of different lengths are not seeds of one another.
    values = binding_values(config) | {"grpo.steps": config.grpo.steps}
    return {key: value for key, value in values.items() if key != SEED}


def said_of_settings(runs: Sequence[Path], anyway: bool = False) -> list[str]:
    """What must be said with a table over these runs: settings that differ from the first run's, or are not known.

    Args:
        anyway: Say what differs instead of refusing.

    Raises:
        NotAlike: settings differ, and it is not to be done anyway.
        ConfigError: a configuration cannot be read.
    """
    settings = {run: run_settings(run) for run in runs}
    differing = list(_differing(settings))
    if differing and not anyway:
        listed = "\n".join(f"  - {difference}" for difference in differing)
        raise NotAlike(
            f"the runs differ in more than {SEED}:\n{listed}\n"
            "Their mean is not one over seeds; --anyway shows it, with this list."
        )
    unknown = [f"the settings of {run} are not known" for run, its in settings.items() if its is None]
    return [*(f"NOT ALIKE: {difference}" for difference in differing), *unknown]


def _differing(settings: dict[Path, dict[str, Any] | None]) -> Iterator[str]:
    """`runs/b: grpo.kl_coef: 0.0 -> 0.04`, against the first run whose settings are known."""
    known = [(run, its) for run, its in settings.items() if its is not None]
    for run, its in known[1:]:
        yield from (f"{run}: {difference}" for difference in differences(known[0][1], its))
