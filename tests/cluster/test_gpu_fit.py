"""Whether a plan fits into GPUs, what is said of it, and whether what is advised helps and is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config import RunConfig
from cluster.config.checks import contradictions
from cluster.config.loading import read_config
from cluster.planning import gpu_fit, memory_tables
from cluster.planning.gpu_fit import ENGINE, RANK, gpu_fits, gpu_here, sequences_at_a_time
from cluster.planning.gpu_remedies import remedies
from cluster.planning.memory_plan import memory_plan
from cluster.planning.memory_tables import fit_lines, gpu_sizes
from cluster.planning.model_geometry import find_geometry

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PATH = "Qwen/Qwen2.5-VL-7B-Instruct"
GEOMETRY = find_geometry(PATH) or pytest.fail("7B is built in")
GPUS: dict[str, dict[str, Any]] = {
    "model": {"path": PATH, "dtype": "bfloat16"},
    "rollout": {"gpus_per_worker": 1.0},
    "learner": {"gpus_per_worker": 1.0, "num_workers": 4},
    "grpo": {"kl_coef": 0.04},
}


def make(**sections: dict[str, Any]) -> RunConfig:
    names = GPUS.keys() | sections.keys()
    return RunConfig.model_validate({n: GPUS.get(n, {}) | sections.get(n, {}) for n in names})


def said(config: RunConfig, stated: float | None) -> str:
    return "\n".join(fit_lines(config, GEOMETRY, *gpu_sizes(stated, config)))


def test_a_rank_needs_its_whole_plan_and_an_engine_its_weights_and_one_sequence() -> None:
    config = make()
    fits = gpu_fits(config, GEOMETRY, 80.0)
    plan = {process.process: process for process in memory_plan(config, GEOMETRY) if process.where == "GPU"}
    assert (fits[RANK].needed, fits[RANK].room) == (plan[RANK].total_gib, 80.0)
    assert fits[ENGINE].room == pytest.approx(0.85 * 80)
    sequence = (3072 + 512) * 57344 / 2**30
    assert fits[ENGINE].needed == pytest.approx(plan[ENGINE].gib["weights"] + sequence + 1)
    assert sequences_at_a_time(config, GEOMETRY, 80.0) == 1 + int((68 - fits[ENGINE].needed) / sequence)
    assert sequences_at_a_time(config, GEOMETRY, 16.0) == 0


def test_only_what_has_gpus_is_judged() -> None:
    assert list(gpu_fits(make(learner={"gpus_per_worker": 0.0}), GEOMETRY, 80.0)) == [ENGINE]
    assert gpu_fits(RunConfig(), GEOMETRY, 80.0) == {}


def test_a_rank_beside_engines_has_what_they_leave() -> None:
    shared = {"rollout": {"gpus_per_worker": 0.3, "gpu_memory_utilization": 0.25, "num_workers": 2}}
    config = make(**shared, learner={"gpus_per_worker": 0.4, "num_workers": 1})
    assert gpu_fits(config, GEOMETRY, 80.0)[RANK].room == pytest.approx(40.0)


def test_the_verdict_has_three_words() -> None:
    words = [gpu_fit.Fit("x", needed, 80.0).verdict for needed in (41.25, 75.0, 81.0)]
    assert words == ["fits: 41.2 of 80", "tight: 75 of 80", "does NOT fit: 81 of 80"]


CROWDED = {
    "many ranks": make(learner={"zero_stage": 1}),
    "one rank": make(learner={"num_workers": 1}),
    "float32 without ZeRO": make(model={"dtype": "float32"}, learner={"zero_stage": 0}),
    "a shared GPU": make(
        rollout={"gpus_per_worker": 0.45, "gpu_memory_utilization": 0.45},
        learner={"gpus_per_worker": 0.45, "num_workers": 1},
    ),
}


@pytest.mark.parametrize("config", CROWDED.values(), ids=CROWDED)
def test_every_remedy_helps_and_what_leaves_the_learning_as_it_is_comes_first(config: RunConfig) -> None:
    before = gpu_fits(config, GEOMETRY, 80.0)[RANK]
    assert not before.fits
    found = remedies(config, GEOMETRY, 80.0, RANK)
    missing = [before.missing, *(remedy.then.missing for remedy in found)]
    assert all(after < earlier for earlier, after in zip(missing, missing[1:], strict=False))
    altering = [remedy.alters_learning for remedy in found]
    assert altering == sorted(altering)
    assert found[-1].then.fits
    assert not any(remedy.then.fits for remedy in found[:-1])


@pytest.mark.parametrize("config", CROWDED.values(), ids=CROWDED)
def test_the_yaml_that_is_advised_is_allowed_and_needs_what_is_said(config: RunConfig) -> None:
    found = remedies(config, GEOMETRY, 24.0, RANK)
    values: dict[str, dict[str, Any]] = config.model_dump()
    for remedy in found:
        for key, value in (line.split(": ") for line in remedy.changes.split(", ")):
            section, name = key.split(".")
            values[section][name] = yaml.safe_load(value)
    changed = RunConfig.model_validate(values)
    assert list(contradictions(changed)) == list(contradictions(config))
    assert gpu_fits(changed, GEOMETRY, 24.0)[RANK] == found[-1].then


def test_an_engine_too_large_for_its_gpu_is_spread_over_more() -> None:
    config = make(rollout={"gpu_memory_utilization": 0.5})
    found = remedies(config, GEOMETRY, 16.0, ENGINE)
    assert [remedy.changes for remedy in found] == [
        "rollout.gpu_memory_utilization: 0.9",
        "rollout.tensor_parallel_size: 2, rollout.gpus_per_worker: 2.0",
    ]
    assert found[-1].then.fits


def test_what_crowds_an_engine_out_is_no_remedy_for_a_rank() -> None:
    config = make(
        rollout={"gpus_per_worker": 0.45, "gpu_memory_utilization": 0.45},
        learner={"gpus_per_worker": 0.45, "num_workers": 1},
    )
    assert gpu_fits(config, GEOMETRY, 40.0)[ENGINE].fits
    for remedy in remedies(config, GEOMETRY, 40.0, RANK):
        assert "utilization: 0.22" not in remedy.changes


def test_a_plan_that_cannot_fit_is_called_so_with_what_to_change() -> None:
    text = said(make(learner={"num_workers": 1}), 40.0)
    assert "does NOT fit" in text.splitlines()[0]
    assert "A learner rank does NOT fit: " in text
    assert "learner.gradient_checkpointing: true -> " in text
    assert "grpo.kl_coef: 0.0 (changes what is learned) -> " in text
    assert "An estimate" in text


def test_without_a_gpu_here_the_sizes_that_it_would_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_tables, "gpu_here", lambda: None)
    config = make(learner={"zero_stage": 3, "gradient_checkpointing": True})
    assert "The plan fits GPUs of 80, 141 GiB; what to change for a smaller one: --gpu-gib" in said(
        config, None
    )


def test_this_machines_gpu_counts_unless_another_is_stated_or_a_cluster_is_joined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory_tables, "gpu_here", lambda: 79.65)
    assert gpu_sizes(None, make()) == ({79.65: "this machine's GPU, 79.7 GiB"}, True)
    assert gpu_sizes(40.0, make()) == ({40.0: "a GPU of 40 GiB"}, True)
    assert list(gpu_sizes(None, make(ray={"address": "auto"}))[0]) == [24.0, 40.0, 80.0, 141.0]


@pytest.mark.parametrize(("answer", "gib"), [("81559\n81559", 81559 / 1024), ("No devices were found", None)])
def test_the_driver_is_asked_for_the_memory_of_the_smallest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gib: float | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=None)
    assert gpu_here() is None
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpu_here() == gib


@pytest.mark.parametrize("name", ["qwen2_5_vl_7b", "qwen2_5_vl_3b_1gpu"])
def test_the_recipes_fit_the_gpus_of_80_gb_that_they_are_for(name: str) -> None:
    config = read_config(CONFIGS / f"{name}.yaml", []).config
    geometry = find_geometry(config.model.path) or pytest.fail("built in")
    for fit in gpu_fits(config, geometry, 79.6).values():
        assert fit.fits, fit
