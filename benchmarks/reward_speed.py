"""How many responses one core scores per second, parsing included: `python -m benchmarks.reward_speed`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rewards import score_response

SECONDS = 1.0

_THINK = "<think>The person walks in at 12.5 and leaves the room again before 18.0.</think>"
_BOXES = [[0.1 + 0.05 * k, 0.2, 0.4 + 0.05 * k, 0.6] for k in range(8)]

CASES: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "interval": (
        "temporal_grounding",
        f"{_THINK}\n<answer>12.54 to 17.83</answer>",
        {"interval": [12.0, 18.0]},
    ),
    "8 boxes": ("tracking", f"{_THINK}\n<answer>{_BOXES}</answer>", {"boxes": _BOXES}),
    "letter": ("multiple_choice", f"{_THINK}\n<answer>C</answer>", {"answer": "C"}),
    "letter + evidence": (
        "grounded_qa",
        f"{_THINK}\n<answer>C</answer>\n<glue>[(5.2, 10.4), (12, 15)]</glue>",
        {"answer": "C", "intervals": [[5, 10], [12, 16]]},
    ),
}


def responses_per_second(task: str, response: str, target: Mapping[str, Any]) -> float:
    """Responses per second of processor time, so that other work on the machine does not show."""
    count, start = 0, time.process_time()
    while (elapsed := time.process_time() - start) < SECONDS:
        for _ in range(100):
            score_response(task, response, target, duration=30.0)
        count += 100
    return count / elapsed


if __name__ == "__main__":
    for name, case in CASES.items():
        print(f"{name:<18} {responses_per_second(*case):>9,.0f} responses/s on one core")
