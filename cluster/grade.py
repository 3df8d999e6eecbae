"""Grades the training prompts of a configuration: `python -m cluster.grade --config X.yaml [--checkpoint P]`.

Every prompt is answered `rollout.group_size` times by the policy, with the sampling settings and the rewards of
training. What comes out, `<run.output_dir>/<run.name>-grades/grades.jsonl`, is what `data.grades` takes. Called again,
it goes on where it ended. Exit codes are those of `cluster.launch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.command_line import (
    Checkpoint,
    ConfigFile,
    Overrides,
    command_app,
    ended_by_a_message,
    policy_config,
    say,
)

if TYPE_CHECKING:
    from cluster.config import RunConfig

app = command_app()


@app.command()
def main(
    config: ConfigFile,
    overrides: Overrides = None,
    checkpoint: Checkpoint = None,
) -> None:
    """Sample answers to every training prompt and write down how hard each is."""
    with ended_by_a_message("The same command goes on with the prompts that are left."):
        _grade(grading_config(config, overrides or [], checkpoint))


def grading_config(path: Path, overrides: Sequence[str], checkpoint: str | None = None) -> RunConfig:
    """The configuration of a run as it grades: a folder of its own, every prompt whatever its difficulty, no learner.

    Raises:
        ConfigError: with every mistake in one message.
    """
    return policy_config(path, overrides, checkpoint, _for_grading)


def _grade(config: RunConfig) -> None:
    from cluster.grading.grading import grade_prompts

    say(f"grading {config.run.name}: {config.run_dir.absolute()}")
    grade_prompts(config)


def _for_grading(config: RunConfig) -> RunConfig:
    """A folder of its own, every prompt whatever its difficulty, nothing held out, nothing reserved for a learner."""
    from cluster.config import SYNTHETIC

    datasets = tuple(entry.model_copy(update={"difficulty": None}) for entry in config.data.datasets)
    changed = {
        "run": {"name": f"{config.run.name}-grades"},
        "data": {
            "grades": None,
            "difficulty": None,
            "datasets": datasets,
            "eval_source": SYNTHETIC,
            "eval_datasets": (),
        },
        "learner": {"cpus_per_worker": 0.0, "gpus_per_worker": 0.0},
    }
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=fields) for name, fields in changed.items()}
    )


if __name__ == "__main__":
    app()
