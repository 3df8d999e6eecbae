"""Whatever ends a run before its time, it ends soon, says who and how to go on, and leaves no process.

The runs start from the policy that another run exported: that vLLM loads what a run leaves is shown on the way.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from cluster.records.interpreter import interpreter
from tests.e2e.launching import Finished, Launched, launch, left_behind

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

# Process title, name in the message.
VICTIMS = {
    "engine": ("VLLM::EngineCore", "rollout-0"),
    "learner-rank": ("ray::RankActor", "learner rank 0"),
    "rollout-worker": ("ray::RolloutWorker", "rollout-0"),
    "reward-worker": ("ray::RewardWorker", "reward-0"),
    "loader": ("ray::VideoLoader", "loader-0"),
}
# Each costs a run of its own: one is killed whenever the tests run.
ALWAYS = "engine"
PARAMETERS = [pytest.param(v, marks=() if v == ALWAYS else pytest.mark.slow, id=v) for v in VICTIMS]
# Many steps, and no clip stays decoded, so that every kind of actor is needed all the time.
ENDLESS = ("grpo.steps=100000", "data.cache_gib=0.00001")


def start(folder: Path, name: str, data: list[str], policy: Path) -> Launched:
    return launch(folder, name, *data, f"model.path={policy}", *ENDLESS)


def titled(run: Launched, title: str) -> list[psutil.Process]:
    """The run's processes of this title."""
    found = []
    for process in run.family():
        try:
            if (process.cmdline() or [""])[0].startswith(title):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("victim", PARAMETERS)
def test_a_killed_process_is_named_before_any_deadline(
    runs_folder: Path, data_arguments: list[str], finished: Finished, victim: str
) -> None:
    title, name = VICTIMS[victim]
    run = start(runs_folder, victim, data_arguments, finished.run_dir / "policy")
    run.wait_for_step(2, 600)
    processes = run.family()
    (process,) = titled(run, title)
    process.kill()
    # The deadlines of a run are several times as long.
    assert run.wait(180) == 1, run.output()
    message = run.output()[run.output().index(f"{name} failed while") :]
    assert "\n  | " in message  # its last words
    assert f"Resume with: {interpreter()} -m cluster.launch" in message
    assert message.rstrip().endswith("--resume")
    assert left_behind(processes) == []


@pytest.mark.slow
def test_ctrl_c_while_the_engines_start(
    runs_folder: Path, data_arguments: list[str], finished: Finished
) -> None:
    run = start(runs_folder, "early", data_arguments, finished.run_dir / "policy")
    run.wait_until(lambda: bool(titled(run, "ray::RolloutWorker.start")), 300, "vLLM starts")
    processes = run.family()
    run.interrupt()
    assert run.wait(120) == 130, run.output()
    assert left_behind(processes) == []
    assert "Interrupted. Resume with: " in run.output()
    assert "Traceback" not in run.output()
