"""How many responses one core scores per second, parsing included: `python -m benchmarks.rewards`.

Ends with exit code 1 if intervals or tracks miss their targets.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from rewards import Mode, Scorer

SECONDS = 0.25
# The best of some rounds: what else runs on the machine only ever slows a round down.
ROUNDS = 5
BATCH = 20

_THINK = "<think>The person walks in at 12.5 and leaves the room again before 18.0.</think>"
_BOXES = [[round(v, 3) for v in (0.1 + 0.05 * k, 0.2, 0.4 + 0.05 * k, 0.6)] for k in range(8)]
_TEXT = "A man in a red shirt opens the door, walks to the table and sits down."

# Task, answer blocks, target, and how many responses per second are wanted.
CASES: Mapping[str, tuple[str, str, Mapping[str, Any], int | None]] = {
    "interval": (
        "temporal_grounding",
        "<answer>12.54 to 17.83</answer>",
        {"interval": [12.0, 18.0]},
        50_000,
    ),
    "eight boxes": ("tracking", f"<answer>{_BOXES}</answer>", {"boxes": _BOXES}, 20_000),
    "letter": ("multiple_choice", "<answer>C</answer>", {"answer": "C"}, None),
    "letter and evidence": (
        "grounded_qa",
        "<answer>C</answer>\n<glue>[(5.2, 10.4), (12, 15)]</glue>",
        {"answer": "C", "intervals": [[5, 10], [12, 16]]},
        None,
    ),
    "box": ("spatial_grounding", f"<answer>{_BOXES[1]}</answer>", {"box": _BOXES[0]}, None),
    "label": ("quality", "<answer>High quality</answer>", {"label": "high quality"}, None),
    "number": ("numerical", "<answer>1,250</answer>", {"number": 1250}, None),
    "estimate": ("regression", "<answer>12.5 m</answer>", {"number": 12}, None),
    "written text": ("ocr", f"<answer>{_TEXT}</answer>", {"text": _TEXT}, None),
    "free text": ("free_form", f"<answer>{_TEXT}</answer>", {"text": _TEXT}, None),
    "caption": ("captioning", f"<answer>{_TEXT}</answer>", {"caption": _TEXT}, None),
}


def responses_per_second(task: str, answer: str, target: Mapping[str, Any], mode: Mode) -> float:
    """Responses per second of processor time."""
    scorer, response = Scorer(task, mode), f"{_THINK}\n{answer}"
    return max(_one_round(scorer, response, target) for _ in range(ROUNDS))


def _one_round(scorer: Scorer, response: str, target: Mapping[str, Any]) -> float:
    count, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < SECONDS:
        for _ in range(BATCH):
            scorer.score(response, target, duration=30.0)
        count += BATCH
    return count / elapsed


def main() -> int:
    """Print the table; returns the exit code."""
    table = Table("answer", "task", "strict", "paper", "wanted, strict", title="responses/s on one core")
    missed = 0
    for name, (task, answer, target, wanted) in CASES.items():
        strict, paper = (responses_per_second(task, answer, target, mode) for mode in ("strict", "paper"))
        missed += wanted is not None and strict < wanted
        table.add_row(name, task, f"{strict:,.0f}", f"{paper:,.0f}", f"{wanted:,}" if wanted else "")
    Console().print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
