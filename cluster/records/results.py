"""What a run achieved: per task, the held-out scores of the cold start, of a constant answer, and after GRPO.

`results.json` holds it for programs, `result_tables.py` prints it for people. All scores are percent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from cluster.records.bootstrap import bootstrap_mean
from cluster.records.eval_records import EvalSample
from cluster.records.result_records import METRICS, MetricResult, Results, TaskResult
from rewards import Baseline, Mode, constant_baseline

RESULTS_FILE = "results.json"
PERCENT = 100.0


def compute_results(
    cold_start: Sequence[EvalSample], grpo: Sequence[EvalSample], mode: Mode = "strict"
) -> Results:
    """Compare two evaluations of the same held-out prompts.

    Args:
        cold_start: Evaluation of the policy that GRPO started from.
        grpo: Evaluation after GRPO.
        mode: How the samples were scored; the constant answers are scored alike.

    Raises:
        ValueError: the two evaluations are not of the same prompts.
    """
    before, after = _by_task(cold_start), _by_task(grpo)
    if _ids(before) != _ids(after):
        raise ValueError("the evaluations before and after GRPO are of different prompts")
    tasks = {task: _task_result(task, before[task], after[task], mode) for task in before}
    return Results(mode=mode, tasks=tasks)


def write_results(run_dir: Path, results: Results) -> Path:
    """Write `results.json` in one rename and return its path."""
    path = run_dir / RESULTS_FILE
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def read_results(run_dir: Path) -> Results:
    """Read a run's `results.json`; a path of the file itself is taken too.

    Raises:
        FileNotFoundError: the run left no results.
        pydantic.ValidationError: the file is not a results file.
    """
    path = run_dir if run_dir.suffix == ".json" else run_dir / RESULTS_FILE
    return Results.model_validate_json(path.read_text(encoding="utf-8"))


def _by_task(samples: Sequence[EvalSample]) -> dict[str, list[EvalSample]]:
    """Samples per task in the tasks' own order, sorted by prompt id, tasks without samples left out."""
    groups = {str(task): [s for s in samples if s.prompt.task == task] for task in METRICS}
    return {task: sorted(group, key=lambda s: s.prompt.id) for task, group in groups.items() if group}


def _ids(groups: Mapping[str, list[EvalSample]]) -> dict[str, list[str]]:
    return {task: [sample.prompt.id for sample in samples] for task, samples in groups.items()}


def _task_result(task: str, before: list[EvalSample], after: list[EvalSample], mode: Mode) -> TaskResult:
    constant = constant_baseline(task, [(s.prompt.target, s.prompt.duration) for s in after], mode)
    main, *others = [_metric_result(metric, before, after, constant) for metric in METRICS[task]]
    return TaskResult(
        **main.model_dump(),
        clips=len(after),
        format_rate={"cold_start": _format_rate(before), "grpo": _format_rate(after)},
        failed=sorted({s.prompt.id for s in (*before, *after) if s.score is None}),
        also=others,
    )


def _metric_result(
    metric: str, before: list[EvalSample], after: list[EvalSample], constant: Baseline
) -> MetricResult:
    videos = [sample.prompt.video for sample in after]
    first = [PERCENT * sample.value(metric) for sample in before]
    last = [PERCENT * sample.value(metric) for sample in after]
    return MetricResult(
        metric=metric,
        cold_start=bootstrap_mean(first, videos=videos),
        constant=PERCENT * fmean(constant.components[metric]),
        constant_answer=constant.description,
        grpo=bootstrap_mean(last, videos=videos),
        gain=bootstrap_mean([b - a for a, b in zip(first, last, strict=True)], videos=videos),
    )


def _format_rate(samples: list[EvalSample]) -> float:
    return PERCENT * sum(sample.value("format") for sample in samples) / len(samples)
