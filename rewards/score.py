"""Score a file of predictions: `python -m rewards.score --input FILE [--mode paper] [--output FILE]`.

Scores go to the output (standard output unless told otherwise) as JSON Lines, and nothing else does; bad
lines, warnings and the summary go to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn

import typer

from rewards.clock import on_clip_clock
from rewards.files import open_file
from rewards.lines import IS_A_LIST, numbered_records
from rewards.predictions import Sample, parse_sample
from rewards.result import Score
from rewards.scoring import Scorer
from rewards.summary import Summary
from rewards.tasks import TASKS
from rewards.terminal import Terminal

console = Terminal(stderr=True)


class PromptTemplate(StrEnum):
    """Choices of `--template`."""

    thinking = "thinking"
    direct = "direct"
    answer_first = "answer_first"


class ScoringMode(StrEnum):
    """Choices of `--mode`."""

    strict = "strict"
    paper = "paper"


def main(
    input_path: Annotated[
        Path,
        typer.Option(
            "--input", help="JSON Lines of id, task, response, target, duration; a JSON list is read too."
        ),
    ],
    mode: Annotated[ScoringMode, typer.Option(help="Which definition of the rewards.")] = ScoringMode.strict,
    output_path: Annotated[Path | None, typer.Option("--output", help="Default: standard output.")] = None,
    template: Annotated[
        PromptTemplate, typer.Option(help="Whether the prompt asked for a <think> block, and where.")
    ] = PromptTemplate.thinking,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="Say on each line why components of its score are 0.")
    ] = False,
) -> None:
    """Score responses by rule. Exit code: 0 all lines fine, 1 some were bad, 2 no line could be scored.

    It prints means of rewards. A benchmark's own metrics, with intervals and over all of its prompts:
    python -m cluster.evaluate --config X.yaml --predictions FILE.
    """
    summary = Summary(mode.value)
    scorers = {task: Scorer(task, mode.value, template.value) for task in TASKS}
    try:
        with ExitStack() as files:
            output = sys.stdout
            if output_path and output_path.exists() and output_path.samefile(input_path):
                stop(f"--output {output_path} would overwrite the input")
            file = files.enter_context(open_file(input_path))
            if output_path:
                output = files.enter_context(output_path.open("w", encoding="ascii"))
            for sample in read_samples(file, str(input_path)):
                score = score_sample(sample, scorers)
                summary.add(sample, score)
                if score is not None:
                    print(score_line(sample, score, reasons), file=output)
    except BrokenPipeError:
        # Whoever read the scores has enough of them, which ends the program in silence.
        raise
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if not summary.lines:
        stop(f"{input_path} holds no samples")
    console.print(summary.table())
    zeros = summary.bad - summary.unscored
    tell(f"bad lines: {summary.bad} (scored 0: {zeros}, unscored lines: {summary.unscored})")
    if summary.odd:
        tell(f"odd targets: {summary.odd}, which count as they are; the first: {summary.first_odd}")
    raise typer.Exit(2 if summary.bad == summary.lines else 1 if summary.bad else 0)


def read_samples(file: BinaryIO, name: str) -> Iterator[Sample]:
    """The sample of every line that is not blank; tells of bad lines and repeated ids as it meets them.

    A file that is a JSON list is told to be one, and each of its items counts as a line.
    """
    is_list, records = numbered_records(file)
    if is_list:
        tell(f"{name} {IS_A_LIST}")
    kind = "item" if is_list else "line"
    first_use: dict[object, int] = {}
    for number, line in records:
        sample = parse_sample(line)
        if sample.problem:
            fate = "scored 0" if sample.task else "unscored"
            tell(f"{kind} {number}: {sample.problem} ({fate})")
        first = first_use.setdefault(sample.id, number)
        if sample.id is not None and first != number:
            tell(f"{kind} {number}: warning: id {sample.id!a} was used on {kind} {first}; both count")
        yield sample


def score_sample(sample: Sample, scorers: Mapping[str, Scorer]) -> Score | None:
    """The score of a line: 0 throughout for a bad one, None where its task is not known."""
    if sample.task is None:
        return None
    scorer = scorers[sample.task]
    if sample.problem or sample.target is None:
        return scorer.zero(sample.problem or "no target")
    score = scorer.score(
        sample.response,
        sample.target,
        duration=sample.duration,
        options=sample.options,
        num_options=sample.num_options,
        tokens=sample.tokens,
    )
    return on_clip_clock(score, sample.starts_at)


def score_line(sample: Sample, score: Score, reasons: bool) -> str:
    """The line written for a sample: plain ASCII, standard JSON."""
    fields = {"id": sample.id, "task": sample.task, "rewards": score.rewards, "total": score.total}
    if reasons:
        fields["reason"] = score.reason
    return json.dumps(fields, allow_nan=False)


def tell(message: str) -> None:
    """Print one line to standard error, unwrapped."""
    console.print(message, soft_wrap=True)


def stop(message: str) -> NoReturn:
    """End the program with a message and exit code 2."""
    tell(message)
    raise typer.Exit(2)


if __name__ == "__main__":
    typer.run(main)
