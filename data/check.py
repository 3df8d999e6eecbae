"""Check datasets before a run: `python -m data.check --config X.yaml [data.field=value ...]`, or of one dataset
`--format F --annotations A --videos V`.

Prints what is in them and every problem with its place. Exit code: 0 all fine, 1 there are problems, 2 nothing can be
used: the arguments, none of the datasets, no entry of them, or no clip.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from data.check_clips import ClipFinding, check_clips, distinct, length_warning
from data.check_config import read_specs
from data.check_facts import facts_by_task, spread
from data.check_report import DatasetReport, show
from data.json_option import JsonFile
from data.limits import reason_of
from data.readers import READERS, DatasetError, DatasetSpec, Reading, read
from data.schema import ClipKey, decoded_problem
from rewards.terminal import Terminal

PROCESSES = len(os.sched_getaffinity(0))

console = Terminal()


def main(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="With --config: section.field=value.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Check every dataset that this configuration names.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(READERS)}.")] = "jsonl",
    annotations: Annotated[Path | None, typer.Option(help="Annotation file, or folder of them.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of the videos; default: beside them.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Further file or choice of a format, NAME=VALUE.")
    ] = None,
    check_videos: Annotated[bool, typer.Option("--videos-decode/--no-videos", help="Decode clips.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Clips decoded at a time.")] = PROCESSES,
    timeout_s: Annotated[float, typer.Option(help="Longest a clip may take to decode, seconds.")] = 20.0,
    json_path: JsonFile = None,
    most: Annotated[int, typer.Option(min=0, help="Problems and warnings printed per dataset.")] = 20,
) -> None:
    """Print what datasets hold, and every problem with its file and line."""
    try:
        specs = _specs(config, overrides or [], format_, annotations, videos, option or [])
    except DatasetError as error:
        console.print(str(error), soft_wrap=True)
        raise typer.Exit(2) from None
    reports = [_report(spec) for spec in specs]
    if check_videos:
        _decode(reports, processes, timeout_s)
    show(console, [report for report, _ in reports], most)
    if json_path:
        content = {"datasets": [report.to_json() for report, _ in reports]}
        json_path.write_text(json.dumps(content, indent=2, ensure_ascii=True), encoding="ascii")
    raise typer.Exit(_exit_code([report for report, _ in reports]))


def _exit_code(reports: Sequence[DatasetReport]) -> int:
    if not any(report.decoded if report.clips else report.prompts for report in reports):
        return 2
    return 1 if any(report.problems for report in reports) else 0


def _specs(
    config: Path | None,
    overrides: Sequence[str],
    format_: str,
    annotations: Path | None,
    videos: Path | None,
    options: Sequence[str],
) -> list[DatasetSpec]:
    if (config is None) == (annotations is None):
        raise DatasetError("give either --config or --annotations")
    if overrides and config is None:
        raise DatasetError(f"{overrides[0]}: there is no --config to override")
    if annotations is None:
        assert config is not None
        specs = read_specs(config, overrides)
        if not specs:
            raise DatasetError(f"{config} names no dataset: its clips are synthetic")
        return specs
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise DatasetError(f"--option {wrong[0]}: expected NAME=VALUE")
    files = dict(option.split("=", 1) for option in options)
    return [DatasetSpec(annotations.name, format_, annotations, videos, files)]


def _report(spec: DatasetSpec) -> tuple[DatasetReport, Reading]:
    """What is told of a dataset before its clips are decoded. That it cannot be read, or is empty, is its problem."""
    with console.status(Text(f"reading {spec.name}")):
        try:
            reading = read(spec)
        except (DatasetError, OSError) as error:
            return DatasetReport(spec, problems=[reason_of(error)]), Reading()
        empty = [] if reading.entries else [f"{spec.annotations}: {reading.nothing_left(())}"]
        report = DatasetReport(
            spec,
            entries=reading.entries,
            prompts=len(reading.prompts),
            videos=len(reading.listed),
            durations=spread(reading.listed.values()),
            tasks=facts_by_task(reading.prompts),
            problems=[*reading.problems, *empty],
            warnings=list(reading.warnings),
        )
    return report, reading


def _decode(reports: Sequence[tuple[DatasetReport, Reading]], processes: int, timeout_s: float) -> None:
    """Decode the clips of every dataset, and add what is wrong with them to its report."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        for report, reading in reports:
            if not (clips := distinct(reading.prompts)):
                continue
            bar = progress.add_task(f"decoding {report.spec.name}", total=len(clips))
            findings = check_clips(clips, processes, timeout_s, partial(progress.advance, bar))
            report.clips = len(clips)
            report.decoded = sum(finding.problem is None for finding in findings.values())
            _add_findings(report, reading, findings)


def _add_findings(report: DatasetReport, reading: Reading, findings: Mapping[ClipKey, ClipFinding]) -> None:
    """What keeps a clip from being used once, at the first prompt about it; what its length tells at each prompt."""
    uses = Counter(prompt.clip_key for prompt in reading.prompts)
    for prompt, place in zip(reading.prompts, reading.places, strict=True):
        count, finding = uses.pop(prompt.clip_key, 0), findings[prompt.clip_key]
        others = f" ({count} prompts)" if count > 1 else ""
        if count and finding.problem:
            report.problems.append(f"{place}: {prompt.video}: {finding.problem}{others}")
        outside = finding.duration and decoded_problem(
            prompt, finding.duration, finding.box_times, finding.starts_at
        )
        if outside:
            report.problems.append(f"{place}: {outside}")
        if count:
            report.warnings += [f"{place}: {prompt.video}: {text}{others}" for text in finding.warnings]
        if warning := length_warning(prompt, finding):
            report.warnings.append(f"{place}: {warning}")


if __name__ == "__main__":
    typer.run(main)
