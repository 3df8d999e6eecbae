"""A supervised run that is killed goes on from its checkpoint and ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.e2e.launching import launch, records

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]
SUPERVISED = (
    "run.algorithm=sft",
    "data.template=direct",
    "learner.num_workers=2",
    "learner.zero_stage=2",
    "cold_start.max_steps=12",
    "cold_start.think_steps=0",
    "cold_start.parse_target=null",
    "cold_start.batch_size=4",
    "checkpoint.every_steps=4",
)


def test_a_killed_supervised_run_goes_on(
    runs_folder: Path, data_arguments: list[str], tiny_policy: str
) -> None:
    arguments = [*data_arguments, f"model.path={tiny_policy}", *SUPERVISED]
    through = launch(runs_folder, "sft-through", *arguments)
    assert through.wait(600) == 0, through.output()
    killed = launch(runs_folder, "sft-killed", *arguments)
    killed.wait_until(lambda: len(_steps(killed.run_dir)) >= 6, 600, "step 6")
    killed.end()
    assert (killed.run_dir / "cold_start_checkpoints").is_dir()
    again = launch(runs_folder, "sft-killed", *arguments, "--resume")
    assert again.wait(600) == 0, again.output()
    assert [step["step"] for step in _steps(again.run_dir)] == list(range(1, 13))
    assert [step["loss"] for step in _steps(again.run_dir)] == [s["loss"] for s in _steps(through.run_dir)]
    assert not (again.run_dir / "cold_start_checkpoints").exists()
    policies = [load_file(run.run_dir / "policy" / "model.safetensors") for run in (through, again)]
    assert policies[0].keys() == policies[1].keys()
    assert all(torch.equal(tensor, policies[1][name]) for name, tensor in policies[0].items())


def _steps(run_dir: Path) -> list[dict[str, object]]:
    return records(run_dir / "cold_start.jsonl")
