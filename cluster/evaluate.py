"""Evaluates a policy on a benchmark mix: `python -m cluster.evaluate --config X.yaml [--checkpoint P]`.

The benchmarks are the held-out datasets of the configuration, whole. With `--predictions FILE` answers that came from
anywhere else are scored instead, without a model. Everything goes to `<run.output_dir>/<run.name>-evaluation`. Called
again, it goes on where it ended; `cluster.compare` compares two. Exit codes are those of `cluster.launch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.command_line import (
    NEEDS_DRY_RUN,
    Checkpoint,
    ConfigFile,
    GpuGib,
    Overrides,
    command_app,
    ended_by_a_message,
    policy_config,
    read_policy_config,
    say,
)
from cluster.errors import ConfigError, UserError

if TYPE_CHECKING:
    from cluster.config import RunConfig

app = command_app()


@app.command()
def main(
    config: ConfigFile,
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Score these answers instead, JSON Lines, or a JSON list, of id and response.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would be asked of a policy and where, and the memory plan."
        ),
    ] = False,
    gpu_gib: GpuGib = None,
) -> None:
    """Answer every held-out prompt greedily, or take the answers of a file, and say what they come to."""
    with ended_by_a_message("The same command goes on with the prompts that are left."):
        if predictions is not None and checkpoint is not None:
            raise ConfigError(
                "--predictions and --checkpoint exclude each other: answers of a file, or of a policy?"
            )
        if dry_run and predictions is not None:
            raise UserError("--predictions starts nothing that could be planned; leave --dry-run out")
        if gpu_gib is not None and not dry_run:
            raise UserError(NEEDS_DRY_RUN)
        if dry_run:
            show_plan(config, overrides or [], checkpoint, gpu_gib)
        elif predictions is not None:
            _score(predictions_config(config, overrides or []), predictions)
        else:
            _evaluate(evaluation_config(config, overrides or [], checkpoint))


def evaluation_config(path: Path, overrides: Sequence[str], checkpoint: str | None = None) -> RunConfig:
    """The configuration of a run as it evaluates.

    Raises:
        ConfigError: with every mistake in one message.
    """
    from cluster.inputs.benchmarks import for_evaluation
    from cluster.planning.unused import OF_TRAINING

    return policy_config(path, overrides, checkpoint, for_evaluation, OF_TRAINING)


def predictions_config(path: Path, overrides: Sequence[str]) -> RunConfig:
    """The same where nothing is decoded or sampled: neither the policy nor the videos need be there.

    Raises:
        ConfigError: with every mistake in one message.
    """
    from cluster.config.loading import load_config
    from cluster.inputs.benchmarks import for_evaluation
    from cluster.planning.unused import OF_TRAINING

    return load_config(path, overrides, for_evaluation, OF_TRAINING)


def show_plan(path: Path, overrides: Sequence[str], checkpoint: str | None, gpu_gib: float | None) -> None:
    """The dry run.

    Raises:
        ConfigError: the configuration is wrong in itself; what it names need not exist.
    """
    from cluster.inputs.benchmarks import for_evaluation
    from cluster.planning.dry_run import print_plan
    from cluster.planning.unused import OF_TRAINING

    loaded = read_policy_config(path, overrides, checkpoint, for_evaluation, OF_TRAINING)
    if loaded.problems:
        raise loaded.error(loaded.problems)
    print_plan(loaded, gpu_gib, evaluates=True)


def _evaluate(config: RunConfig) -> None:
    from cluster.evaluation.by_policy import evaluate_policy

    say(f"evaluating {config.model.path}: {config.run_dir.absolute()}")
    evaluate_policy(config)


def _score(config: RunConfig, path: Path) -> None:
    from cluster.evaluation.of_predictions import evaluate_predictions

    say(f"scoring {path}: {config.run_dir.absolute()}")
    evaluate_predictions(config, path)


if __name__ == "__main__":
    app()
