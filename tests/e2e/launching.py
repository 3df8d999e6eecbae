"""Whole runs for the end-to-end tests: the real launch command in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5
# Everything small. Two workers of each kind fit on two CPUs, and without its dashboard Ray starts sooner.
SMALL = (
    "ray.num_cpus=2",
    "logging.ray_metrics=false",
    "logging.wandb_mode=disabled",
    "data.cpus_per_loader=0.05",
    "data.eval_prompts_per_task=2",
    "rollout.threads_per_worker=1",
    "rollout.max_response_tokens=24",
    "rollout.group_size=4",
    "learner.threads_per_worker=1",
    "learner.warmup_steps=0",
    "grpo.prompts_per_step=4",
)


@dataclass
class Launched:
    """A run under way, with the file that its output goes to."""

    process: subprocess.Popen[bytes]
    log: Path
    run_dir: Path

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self, timeout_s: float) -> int:
        """Its exit code; past the time limit it is ended and the test fails with its output."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"not finished within {timeout_s:g} s:\n{self.output()[-4000:]}") from None

    def wait_until(self, happened: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for something the run does; fails if the run ends before."""
        deadline = time.monotonic() + timeout_s
        while not happened():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.end()
                reason = "the run ended" if ended else f"{timeout_s:g} s passed"
                raise AssertionError(f"{reason} before: {what}\n{self.output()[-4000:]}")
            time.sleep(0.2)

    def wait_for_step(self, step: int, timeout_s: float = 300) -> None:
        """Wait until a GRPO step is recorded."""
        self.wait_until(
            lambda: len(records(self.run_dir / "metrics.jsonl")) >= step, timeout_s, f"step {step}"
        )

    def family(self) -> list[psutil.Process]:
        """The run's process and all of its descendants."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal does it: to every process in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill what is left of the run."""
        if self.process.poll() is None:
            for process in self.family():
                process.kill()
        self.process.wait(10)


@dataclass
class Finished:
    """A run that has ended well.

    Attributes:
        left: Processes of it that still exist.
    """

    run_dir: Path
    output: str
    left: list[str]


def launch(folder: Path, name: str, *arguments: str, module: str = "cluster.launch") -> Launched:
    """Start a run named `name` in `folder`, or another command with that configuration; returns at once."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}-{len(list(folder.glob('*.log')))}.log"
    # Ray's own defaults, but for the folder that keeps the tests' clusters apart.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("RAY_") or key == "RAY_TMPDIR"
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", module, "--config", "configs/local.yaml"),
                *(f"run.name={name}", f"run.output_dir={folder}", *SMALL, *arguments),
            ],
            cwd=ROOT,
            env=environment | {"COLUMNS": "200"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Launched(process, log, folder / name)


def records(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, as far as it is written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def prompt_ids(run_dir: Path) -> dict[int, list[str]]:
    """The prompts of each step, in order."""
    by_step: dict[int, list[str]] = {}
    for sample in records(run_dir / "samples.jsonl"):
        ids = by_step.setdefault(sample["step"], [])
        if sample["prompt_id"] not in ids:
            ids.append(sample["prompt_id"])
    return by_step


def curve(run_dir: Path) -> list[tuple[Any, ...]]:
    """What a run learned, step by step, to the last digit; no times."""
    return [
        (r["step"], r["tasks"], r["loss"], r["grad_norm"], r["entropy"], r["mismatch"], r["clips_skipped"])
        for r in records(run_dir / "metrics.jsonl")
    ]


def left_behind(processes: list[psutil.Process], timeout_s: float = 60) -> list[str]:
    """Those of a run's processes that still exist."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    return list(_commands(alive))


def _commands(processes: list[psutil.Process]) -> Iterator[str]:
    for process in processes:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            yield f"{process.pid} {' '.join(process.cmdline())[:100]}"
