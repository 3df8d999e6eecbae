"""What the demo's policy sees, beside what it answers: `python -m benchmarks.think_scores runs/a runs/b`.

The think part of a response to a synthetic clip ends with the interval, or holds the boxes, that the policy saw. Scored
as if it were the answer, it tells better seeing from better answering.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from cluster.records.eval_records import EvalSample, read_eval_samples
from data.schema import Task
from rewards import score_response

STAGES = {"cold_start": "cold start", "grpo": "after GRPO"}
TASKS = (Task.TEMPORAL_GROUNDING, Task.TRACKING)
_THINK = re.compile(r"<think>(.*?)</think>", re.DOTALL)
_CONCLUSION = re.compile(r" from (\d+\.\d) to (\d+\.\d)$")


def seen(response: str, task: Task) -> str:
    """The answer that the think part alone gives; empty where it gives none."""
    think = _THINK.search(response)
    if think is None or task is Task.TRACKING:
        return think[1] if think else ""
    conclusion = _CONCLUSION.search(think[1])
    return f"{conclusion[1]} to {conclusion[2]}" if conclusion else ""


def think_score(sample: EvalSample) -> float:
    """IoU of what was seen, in percent."""
    prompt = sample.prompt
    response = f"<think></think> <answer>{seen(sample.response, prompt.task)}</answer>"
    score = score_response(str(prompt.task), response, prompt.target, duration=prompt.duration)
    return 100 * score.rewards["iou"]


def answer_score(sample: EvalSample) -> float:
    """IoU of the answer, in percent."""
    return 100 * sample.score.rewards["iou"] if sample.score else 0.0


def main(runs: Sequence[str]) -> None:
    """Print both scores per run, task and stage."""
    table = Table("run", "task", "stage", "answer", "think part")
    for run in runs:
        for task in TASKS:
            for stage, name in STAGES.items():
                samples = [s for s in read_eval_samples(Path(run), stage) if s.prompt.task == task]
                scores = (fmean(map(score, samples)) for score in (answer_score, think_score))
                table.add_row(run, str(task), name, *(f"{value:.1f}" for value in scores))
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
