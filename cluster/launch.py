"""The main entry: `python -m cluster.launch --config configs/local.yaml [section.field=value ...]`.

Nothing heavy is imported before it is needed: `--help` and complaints about the configuration come at once.
Exit codes: 0 done, 1 the run failed, 2 the configuration is wrong, 130 interrupted.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.command_line import (
    NEEDS_DRY_RUN,
    ConfigFile,
    GpuGib,
    Overrides,
    command_app,
    ended_by_a_message,
    say,
)
from cluster.errors import UserError
from cluster.records.interpreter import interpreter

if TYPE_CHECKING:
    from cluster.config import RunConfig
    from cluster.config.loading import LoadedConfig
    from cluster.config.problems import Problem

app = command_app()


@app.command()
def main(
    config: ConfigFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config, the placement and the memory plan.")
    ] = False,
    gpu_gib: GpuGib = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
) -> None:
    """Train a video language model by reinforcement learning, as one YAML file says."""
    again = f"Resume with: {resume_command(config, overrides or [])}"
    with ended_by_a_message(again):
        if gpu_gib is not None and not dry_run:
            raise UserError(NEEDS_DRY_RUN)
        if dry_run:
            show_plan(config, overrides or [], gpu_gib)
        else:
            launch(config, overrides or [], resume)


def show_plan(path: Path, overrides: Sequence[str], gpu_gib: float | None = None) -> None:
    """The dry run.

    Args:
        gpu_gib: Memory of each GPU, GiB; None where nobody says.

    Raises:
        ConfigError: the configuration is wrong in itself; what it names need not exist.
    """
    from cluster.config.loading import read_config
    from cluster.planning.dry_run import print_plan

    loaded = read_config(path, overrides)
    if loaded.problems:
        raise loaded.error(loaded.problems)
    print_plan(loaded, gpu_gib)


def launch(path: Path, overrides: Sequence[str], resume: bool) -> None:
    """Check everything that can be checked from here, then run.

    Raises:
        ConfigError: with every mistake in one message, before anything is started.
        RunFailure: the run could not go on.
    """
    from cluster.config.loading import read_config
    from cluster.planning.existence import missing_things
    from cluster.runtime.environment import environment_problems

    loaded = read_config(path, overrides)
    say(f"{path}: checking what it names")
    config = loaded.config
    loaded.add([*missing_things(config), *_short_here(config), *environment_problems(config)])
    if loaded.problems:
        raise loaded.error(loaded.problems)
    _announce(config)
    _run(loaded, resume)


def resume_command(config: Path, overrides: Sequence[str]) -> str:
    """The command line that goes on with this run."""
    return shlex.join(
        [interpreter(), "-m", "cluster.launch", "--config", str(config), *overrides, "--resume"]
    )


def _run(loaded: LoadedConfig, resume: bool) -> None:
    from cluster.runtime.ray_session import ClusterTooSmall
    from cluster.training.run import run

    try:
        run(loaded.config, resume=resume)
    except ClusterTooSmall as error:
        # Only the launcher knows the file and line that asked for it.
        raise loaded.error(error.problems) from error


def _announce(config: RunConfig) -> None:
    say(f"run {config.run.name}: {config.run_dir.absolute()}; connecting to Ray")
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not Path(config.run.output_dir).is_absolute():
        say("it lies in the job's copy of the project; an absolute run.output_dir outlives the job")


def _short_here(config: RunConfig) -> list[Problem]:
    """What this machine lacks, if Ray is to be started on it; a cluster is looked at when it is joined."""
    from cluster.planning.placement import placement, shortages
    from cluster.runtime.environment import address_of

    if address_of(config) is not None:
        return []
    roles = placement(config)
    cpus = config.ray.num_cpus or os.cpu_count() or 1
    here = {"CPU": float(cpus), "GPU": float(_gpus_here() if any(role.gpus for role in roles) else 0)}
    return list(shortages(roles, [here], "this machine"))


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()


if __name__ == "__main__":
    app()
