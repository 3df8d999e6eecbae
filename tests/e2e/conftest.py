"""Fixtures of the end-to-end tests: one tiny policy and one finished run for all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.footage import REWARDS, write_dataset, write_held_out
from tests.e2e.launching import STEPS, Finished, launch, left_behind

TWO_OF_EACH = (
    "data.num_loaders=2",
    "rollout.num_workers=2",
    "reward.num_workers=2",
    "learner.num_workers=2",
    "learner.zero_stage=3",
)


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny policy with random weights."""
    from learner.tiny_policy import build_tiny_policy

    folder: Path = tmp_path_factory.mktemp("policy")
    return str(build_tiny_policy(folder, seed=0))


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of the launch command go."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def dataset(runs_folder: Path) -> Path:
    """An annotation file with good clips, damaged ones and a prompt that is too long."""
    return write_dataset(runs_folder / "data")


@pytest.fixture(scope="session")
def data_arguments(runs_folder: Path, dataset: Path) -> list[str]:
    """What makes a run train on that file, with rewards that an untrained policy can earn."""
    custom = {task: f"{function.__module__}.{function.__name__}" for task, function in REWARDS.items()}
    return [
        f"data.source={dataset}",
        f"data.eval_source={write_held_out(runs_folder / 'data')}",
        "data.num_prompts=null",
        "data.tasks={temporal_grounding: 1, multiple_choice: 1}",
        f"reward.custom={json.dumps(custom)}",
    ]


@pytest.fixture(scope="session")
def arguments(data_arguments: list[str], tiny_policy: str) -> list[str]:
    """A short run with two workers of each kind and ZeRO-3."""
    small = (f"grpo.steps={STEPS}", "checkpoint.every_steps=2")
    return [*data_arguments, f"model.path={tiny_policy}", *small, *TWO_OF_EACH]


@pytest.fixture(scope="session")
def finished(runs_folder: Path, arguments: list[str]) -> Finished:
    """That run, from start to end."""
    run = launch(runs_folder, "whole", *arguments)
    run.wait_for_step(1, 600)
    processes = run.family()
    assert run.wait(600) == 0, run.output()
    return Finished(run.run_dir, run.output(), left_behind(processes))
