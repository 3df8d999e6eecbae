"""Demonstrations: those of synthetic clips are as they were measured, those of annotations are the annotated answer."""

from __future__ import annotations

import hashlib

import pytest

from data.demonstrations import demonstrate, introduce
from data.sampling import SamplingContract
from data.schema import Task
from data.synthetic import make_scene

# Of 200 scenes each. What the cold start of `configs/local.yaml` leaves depends on every byte of them: who changes
# them measures docs/results.md anew.
MEASURED = {
    Task.TEMPORAL_GROUNDING: "b6e0bb4b7c3e6c796ee7cabfb2f81092d811b4ef660c0be29e93d710e4071ec4",
    Task.TRACKING: "85a4a51a583a194f8bea88152b81d18315b3581353d2ef16eacdcf31e4aae8f1",
    Task.MULTIPLE_CHOICE: "6bcda61fb86ab7d1f6db0a6be29b94371e8c9998c51f3735c5d4b1a24dd7f1eb",
    Task.GROUNDED_QA: "65283780296c1e2687d3773279461f3d657f7357a9dd07fffe16a3b6bb5a6f40",
}


@pytest.mark.parametrize("task", MEASURED)
def test_the_demonstrations_of_the_demo_are_the_measured_ones(task: Task) -> None:
    digest = hashlib.sha256()
    for seed in range(200):
        pair = make_scene(task, seed, SamplingContract())
        digest.update(f"{demonstrate(*pair)}\n{introduce(*pair)}\n".encode())
    assert digest.hexdigest() == MEASURED[task]


def test_a_demonstration_to_the_letter() -> None:
    scene, prompt = make_scene(Task.TEMPORAL_GROUNDING, 1, SamplingContract())
    seconds = "0.0:none . 1.0:red from 2.0:none to 3.0:none . 4.0:none . 5.0:none . 6.0:none . 7.0:green . 8.0:none . "
    thought = f"<think>{seconds} from 1.0 to 2.0</think>"
    assert introduce(scene, prompt) == thought
    assert demonstrate(scene, prompt) == f"{thought} <answer> from 1.0 to 2.0</answer>"
    scene, prompt = make_scene(Task.MULTIPLE_CHOICE, 1, SamplingContract())
    assert demonstrate(scene, prompt) == "<think>red(A)</think> <answer>A</answer>"
