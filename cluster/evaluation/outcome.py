"""What an evaluation leaves: `results.json`, the same in Markdown and as a page with frames, and a table to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from actors.caption_judge import EndpointJudge, JudgeReport
from actors.judge_reply import EndpointError
from cluster.config import RunConfig
from cluster.errors import RunFailure
from cluster.evaluation.figures import TaskFigures, task_figures
from cluster.evaluation.judging import judge_notes, judge_of
from cluster.evaluation.records import EvaluationResults, write_results
from cluster.evaluation.report import write_page
from cluster.evaluation.tables import PLAIN_WIDTH, markdown, tables
from cluster.inputs.benchmarks import Benchmark
from cluster.records.eval_records import EvalSample
from cluster.records.run_facts import command_line, installed_versions
from rewards.terminal import Terminal, say

MARKDOWN_FILE = "results.md"


def publish(
    config: RunConfig,
    benchmarks: Sequence[Benchmark],
    samples: Mapping[str, EvalSample],
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> EvaluationResults:
    """Write everything into the run's folder and print the tables.

    Args:
        samples: One for every prompt, by its id.

    Raises:
        RunFailure: the judge of captions cannot be used.
    """
    try:
        judge = judge_of(config)
        tasks = [figures for one in benchmarks for figures in _figures(config, one, samples, judge)]
    except EndpointError as error:
        raise RunFailure(str(error)) from error
    report = judge.report() if judge else JudgeReport()
    judged = judge_notes("constant answers", report.unreadable, report.fallbacks)
    results = EvaluationResults(
        name=config.run.name,
        settings=dict(settings),
        tasks=tasks,
        skipped={one.name: list(one.skipped) for one in benchmarks if one.skipped},
        notes=[*notes, *judged],
        command=command_line(),
        versions=installed_versions(),
    )
    write_results(config.run_dir, results)
    (config.run_dir / MARKDOWN_FILE).write_text(markdown(results), encoding="utf-8")
    with ExitStack() as stack:
        # Printed whatever becomes of the page, as the page is written before anything is printed.
        stack.callback(_print_tables, results)
        page = write_page(config, results, {one.name: _of(one, samples) for one in benchmarks})
        stack.callback(say, f"report: {page}")
    return results


def _print_tables(results: EvaluationResults) -> None:
    console = Terminal()
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    for table in tables(results, console.width):
        console.print(table)


def _of(benchmark: Benchmark, samples: Mapping[str, EvalSample]) -> list[EvalSample]:
    return [samples[prompt.id] for prompt in benchmark.prompts]


def _figures(
    config: RunConfig, benchmark: Benchmark, samples: Mapping[str, EvalSample], judge: EndpointJudge | None
) -> list[TaskFigures]:
    by_task = list(benchmark.by_task())
    unusable = len(benchmark.skipped) if benchmark.is_whole and len(by_task) == 1 else 0
    return [
        task_figures(
            benchmark.name,
            str(task),
            [samples[prompt.id] for prompt in prompts],
            config.reward.mode,
            config.reward.options.get(task, {}),
            judge,
            unusable,
        )
        for task, prompts in by_task
    ]
