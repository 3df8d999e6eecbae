"""When the demo shows what: `python -m benchmarks.demo_times [overrides]` runs it and prints the seconds.

Start it on an idle machine, without `runs/`, so that clips are rendered as on a first run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console

COMMAND = ["-m", "cluster.launch", "--config", "configs/local.yaml", "run.name=demo-times"]
# What a line says when a stage has been reached, and the limit in seconds.
MARKS: Mapping[str, tuple[str, float]] = {
    "first line": ("", 15),
    "first cold-start step": ("cold start step 1/", 60),
    "first GRPO step": ("GRPO step 1/", 240),
    "result table": ("Held-out results", 1500),
}


def demo_times(overrides: Sequence[str]) -> dict[str, float]:
    """Seconds from the start until each mark, and until the process ended.

    Raises:
        RuntimeError: the run failed.
    """
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-u", *COMMAND, *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found: dict[str, float] = {}
    assert process.stdout
    for line in process.stdout:
        sys.stdout.write(line)
        for name, (text, _) in MARKS.items():
            if name not in found and text in line:
                found[name] = time.monotonic() - began
    if process.wait():
        raise RuntimeError(f"the run ended with exit status {process.returncode}")
    return found | {"everything": time.monotonic() - began}


if __name__ == "__main__":
    console = Console()
    for mark, seconds in demo_times(sys.argv[1:]).items():
        limit = MARKS.get(mark, ("", 1500))[1]
        console.print(f"{mark:<24} {seconds:7.1f} s   (limit {limit:.0f} s)")
