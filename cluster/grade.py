"""Grades the training prompts of a configuration: `python -m cluster.grade --config X.yaml [--checkpoint P]`.

Every prompt is answered `rollout.group_size` times by the policy, with the sampling settings and the rewards of
training. What comes out, `<run.output_dir>/<run.name>-grades/grades.jsonl`, is what `data.grades` takes. Called again,
it goes on where it ended. Exit codes are those of `cluster.launch`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.command_ends import ended_by_a_message

if TYPE_CHECKING:
    from cluster.config import RunConfig

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    config: Annotated[Path, typer.Option(help="YAML file of the run.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.field=value, the value in YAML.", show_default=False)
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Policy that answers, in place of model.path.", show_default=False)
    ] = None,
) -> None:
    """Sample answers to every training prompt and write down how hard each is."""
    with ended_by_a_message("The same command goes on with the prompts that are left."):
        _grade(grading_config(config, overrides or [], checkpoint))


def grading_config(path: Path, overrides: Sequence[str], checkpoint: str | None = None) -> RunConfig:
    """The configuration of a run as it grades: a folder of its own, every prompt whatever its difficulty, no learner.

    Raises:
        ConfigError: with every mistake in one message.
    """
    from cluster.config_existence import missing_things
    from cluster.config_loading import read_config

    policy = [f"model.path={json.dumps(checkpoint)}"] if checkpoint else []
    loaded = read_config(path, [*overrides, *policy])
    config = _for_grading(loaded.config)
    loaded.add(missing_things(config))
    if loaded.problems:
        raise loaded.error(loaded.problems)
    return config


def _grade(config: RunConfig) -> None:
    from cluster.grading import grade_prompts

    print(f"grading {config.run.name}: {config.run_dir.absolute()}", flush=True)
    grade_prompts(config)


def _for_grading(config: RunConfig) -> RunConfig:
    """A folder of its own, every prompt whatever its difficulty, nothing reserved for a learner."""
    datasets = tuple(entry.model_copy(update={"difficulty": None}) for entry in config.data.datasets)
    changed = {
        "run": {"name": f"{config.run.name}-grades"},
        "data": {"grades": None, "difficulty": None, "datasets": datasets},
        "learner": {"cpus_per_worker": 0.0, "gpus_per_worker": 0.0},
    }
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=fields) for name, fields in changed.items()}
    )


if __name__ == "__main__":
    app()
