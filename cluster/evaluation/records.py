"""The files of an evaluation: `samples.jsonl`, a line per prompt, and `results.json` with everything they come to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cluster.evaluation.figures import TaskFigures
from cluster.records.eval_records import EvalSample, sample_from_json, sample_to_json
from cluster.records.failures import why_zero
from cluster.records.json_lines import drop_torn_line, json_line, replace_file
from cluster.records.metrics import Text, encodable

SAMPLES_FILE = "samples.jsonl"
RESULTS_FILE = "results.json"


class EvaluationResults(BaseModel):
    """The content of `results.json`.

    Attributes:
        settings: What the figures depend on; see `cluster.evaluation.settings`.
        skipped: By dataset, annotations that nothing can be scored against: in no denominator.
        notes: What else must be known of the figures, lines of a file of predictions that were not used for instance.
        command: The command that made them.
        versions: Of the packages they depend on.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    settings: dict[str, Any]
    tasks: list[TaskFigures]
    skipped: dict[str, list[Text]] = {}
    notes: list[Text] = []
    command: Text = ""
    versions: dict[str, str] = {}


def append_samples(
    path: Path,
    samples: Sequence[EvalSample],
    datasets: Mapping[str, str],
    asked: Mapping[str, str] | None = None,
) -> None:
    """Add lines to a file of samples.

    Args:
        datasets: The dataset of each prompt, by its id.
        asked: The text that it was asked by, where that is known.
    """
    drop_torn_line(path)
    lines = (
        _line(sample, datasets[sample.prompt.id], (asked or {}).get(sample.prompt.id)) for sample in samples
    )
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(map(json_line, lines)))


def read_samples(folder: Path) -> dict[str, EvalSample]:
    """The samples of an evaluation by prompt id, the last of each; a torn last line is left out.

    Raises:
        OSError, ValueError: there are none, or a line is not one.
    """
    lines = (folder / SAMPLES_FILE).read_bytes().split(b"\n")[:-1]
    samples = (sample_from_json(json.loads(line)) for line in lines)
    return {sample.prompt.id: sample for sample in samples}


def compact_samples(folder: Path) -> None:
    """Leave the last line of each prompt alone, in one rename: one that was asked again has several."""
    path = folder / SAMPLES_FILE
    last = {json.loads(line)["id"]: line for line in path.read_bytes().split(b"\n")[:-1]}
    replace_file(path, b"".join(line + b"\n" for line in last.values()))


def write_results(folder: Path, results: EvaluationResults) -> None:
    """Write `results.json` in one rename."""
    path = folder / RESULTS_FILE
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(results.model_dump_json(indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_results(folder: Path) -> EvaluationResults:
    """What `write_results` wrote.

    Raises:
        OSError, ValueError: there is no such file, or it is damaged.
    """
    return EvaluationResults.model_validate_json((folder / RESULTS_FILE).read_text(encoding="utf-8"))


def _line(sample: EvalSample, dataset: str, asked: str | None) -> dict[str, Any]:
    return {
        "id": sample.prompt.id,
        "dataset": dataset,
        "task": str(sample.prompt.task),
        "asked": encodable(asked),
        **sample_to_json(sample),
        "reason": encodable(why_zero(sample)),
    }
