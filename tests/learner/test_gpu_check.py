"""The check for GPUs: its parts run at a tiny size on CPU, and what is wrong with one is a row of the table."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from rich.console import Console

from benchmarks import gpu_check, gpu_parts
from benchmarks.gpu_check import MINUTES, Row, check, plan, run_part, table
from benchmarks.gpu_parts import PARTS, Part
from benchmarks.gpu_runs import CONFIGS, run_arguments
from benchmarks.learner_setting import large_config, medium_config
from cluster.config.loading import load_config
from cluster.planning.model_geometry import find_geometry, geometry

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
# Those that start an engine.
RUNS = [name for name in PARTS if name.startswith(("run ", "parity ", "configuration "))]
RANKS = [name for name in PARTS if name.startswith(("rank ", "resuming"))]
ROOT = Path(gpu_check.__file__).parents[1]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", [name for name in PARTS if name not in RUNS + RANKS])
def test_a_part_runs_on_cpu(name: str, tmp_path: Path) -> None:
    figures = PARTS[name].figures(CPU, tmp_path)
    assert figures and all(isinstance(value, str) for value in figures.values())


def test_weights_move_in_a_process_that_has_a_group(tmp_path: Path) -> None:
    # Others of these tests bring a group up, and leave it to the process.
    mine = not dist.is_initialized()
    if mine:
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        assert PARTS["weights between processes"].figures(CPU, tmp_path)
    finally:
        if mine:
            dist.destroy_process_group()


def test_a_rank_steps_beside_its_plan(tmp_path: Path) -> None:
    row = run_part("rank at 3B, ZeRO-2", CPU, tmp_path, deadline_s=120)
    assert row.outcome == "ok", (tmp_path / "rank-at-3B--ZeRO-2.log").read_text()[-2000:]
    assert "GiB" in row.figures["planned"] and "GiB" in row.figures["host peak"]


def test_a_rank_resumes(tmp_path: Path) -> None:
    row = run_part("resuming, AdamW fused", CPU, tmp_path, deadline_s=120)
    assert row.figures["state as it was written"] == "yes", row.outcome
    assert int(row.figures["tensors of it that a step moves"]) > 2


@pytest.mark.parametrize("gpus", [1, 2])
def test_a_run_is_one_that_starts_with_these_gpus(gpus: int, tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    config = load_config(ROOT / CONFIGS[gpus], run_arguments(gpus, CUDA, tmp_path))
    assert config.sync_backend == ("nccl" if gpus == 2 else "gloo")
    assert config.rollout.gpus_per_worker + config.learner.gpus_per_worker <= gpus
    assert config.learner.freeze_vision == config.learner.offload_optimizer == (gpus == 1)
    assert load_config(ROOT / CONFIGS[gpus], run_arguments(gpus, CPU, tmp_path)).grpo.steps == 4


@pytest.mark.e2e
@pytest.mark.slow
def test_an_engine_agrees_with_the_learner(tmp_path: Path) -> None:
    row = run_part("parity on Model Runner V1", CPU, tmp_path, deadline_s=400)
    log = (tmp_path / "parity-on-Model-Runner-V1.log").read_text()[-2000:]
    assert row.outcome == "ok" and row.figures["vLLM's model runner"] == "V1", log
    means = [float(value.split(",")[0]) for name, value in row.figures.items() if "mean" in name]
    assert len(means) == 2 and all(1.0 <= mean < 1.0001 for mean in means)


@pytest.mark.e2e
@pytest.mark.slow
def test_the_configuration_for_one_gpu_runs(tmp_path: Path) -> None:
    row = run_part("configuration for one GPU, audited sync", CPU, tmp_path, deadline_s=500)
    log = (tmp_path / "configuration-for-one-GPU--audited-sync.log").read_text()[-4000:]
    assert row.outcome == "ok" and "sync" in row.figures, log


@pytest.mark.parametrize(("config", "size"), [(medium_config(), "3b"), (large_config(), "7b")])
def test_the_geometries_are_the_published_ones(config: object, size: str) -> None:
    published = find_geometry(f"Qwen/Qwen2.5-VL-{size}-Instruct")
    mine = geometry(config.to_dict())  # type: ignore[attr-defined]
    assert mine is not None and published is not None
    assert (mine.layers, mine.hidden, mine.kv_width) == (
        published.layers,
        published.hidden,
        published.kv_width,
    )
    assert mine.parameters == pytest.approx(published.parameters, rel=0.02)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    parts = {name: Part(5, lambda device, folder: {}) for name in ("good", "bad", "slow", "wrong")}
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    return parts


def test_no_part_ends_the_others(
    parts: dict[str, Part], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = {
        "wrong": "pathlib.Path({result!r}).write_text(json.dumps({{'a': 'NO: 7'}}))",
        "good": "pathlib.Path({result!r}).write_text(json.dumps({{'a': '1 s'}}))",
        "bad": "raise ValueError('no kernel for this GPU')",
        "slow": "print('at it', flush=True); time.sleep(60)",
    }
    start = subprocess.Popen

    def pretend(arguments: list[str], **options: object) -> object:
        name = arguments[arguments.index("--inside") + 1]
        code = "import json, pathlib, time; " + codes[name].format(result=str(tmp_path / f"{name}.json"))
        return start([sys.executable, "-c", code], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(gpu_check.subprocess, "Popen", pretend)
    parts["slow"] = Part(1, parts["slow"].figures)
    rows = check(["bad", "slow", "wrong", "good"], CPU, tmp_path)
    assert [row.outcome for row in rows] == [
        "failed: ValueError: no kernel for this GPU",
        "not done in 1 s: at it",
        "not as it must be",
        "ok",
    ]
    assert rows[3].figures == {"a": "1 s"}


def test_when_the_time_is_over_the_rest_is_named(parts: dict[str, Part], tmp_path: Path) -> None:
    (row,) = check(["good"], CPU, tmp_path, minutes=0.0)
    assert row.outcome == "not started: 0 minutes are over"


def test_more_gpus_than_there_are(parts: dict[str, Part], tmp_path: Path) -> None:
    parts["good"] = Part(5, parts["good"].figures, gpus=1_000)
    (row,) = check(["good"], CUDA, tmp_path)
    assert row.outcome.startswith("needs 1000 GPUs, there ")


def test_the_table_has_a_line_for_each_figure() -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(
        table([Row("one", "ok", 3.0, {"step": "1 s", "peak": "2 GiB"}), Row("two", "failed: x", 1.0, {})])
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert all(part in text for part in ("one", "step", "2 GiB", "failed: x"))


def test_the_plan_fits_its_time_on_one_gpu() -> None:
    """Each part's deadline is what it may take at worst; the last ones are cut short by the bound of all."""
    assert plan(PARTS).row_count == len(PARTS)
    assert all(part.deadline_s < 60 * MINUTES / 2 for part in PARTS.values())
    assert json.dumps(list(gpu_parts.PARTS)) == json.dumps(list(PARTS))


def test_the_command_without_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    finished = command()
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith("no GPU here") and finished.stdout == ""
    planned = command("--plan")
    assert planned.returncode == 0 and "shared prefix" in planned.stdout
