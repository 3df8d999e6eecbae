"""The grades of prompts, how hard each is for a policy, and the files that keep them.

`grades.jsonl` has a line per prompt; `settings.json` beside it says what the prompts were graded under.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cluster.config import RunConfig
from cluster.inputs.difficulty import difficulty
from cluster.records.json_lines import drop_torn_line, json_line, replace_file
from cluster.records.kept_settings import chosen_settings, differences, read_settings
from cluster.records.metrics import Number, Text
from data.schema import VideoPrompt
from rewards import Score
from rewards.files import MAX_FILE_BYTES, read_file

GRADES_FILE = "grades.jsonl"
# A grade depends on everything in these sections but where and how fast things run, and on these fields.
GRADED_SECTIONS = {"model", "video", "rollout", "reward"}
GRADED_FIELDS = {"run.seed", "data.template"}


class Grade(BaseModel):
    """How one prompt was answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    task: str
    n: int = Field(ge=0, description="responses sampled; 0 for a prompt that cannot be used")
    mean: Number = Field(None, description="mean total reward")
    std: Number = Field(None, description="standard deviation of the total rewards")
    components: dict[str, Number] = Field(default_factory=dict, description="mean of each reward component")
    difficulty: Number = Field(None, description="1 minus the mean of the main component, in 0-1")
    problem: Text | None = Field(None, description="why the prompt cannot be used")


def grade_of(prompt: VideoPrompt, scores: Sequence[Score]) -> Grade:
    """The grade of a prompt by the scores of its responses."""
    totals = [score.total for score in scores]
    names = scores[0].rewards
    return Grade(
        id=prompt.id,
        task=str(prompt.task),
        n=len(scores),
        mean=fmean(totals),
        std=pstdev(totals),
        components={name: fmean(score.rewards[name] for score in scores) for name in names},
        difficulty=difficulty(prompt.task, scores),
    )


def append_grades(path: Path, grades: Sequence[Grade]) -> None:
    """Add lines to a file of grades."""
    drop_torn_line(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json_line(grade.model_dump(mode="json")) for grade in grades))


def write_grades(path: Path, grades: Sequence[Grade]) -> list[Grade]:
    """Write a file anew with the last grade of each prompt, in one rename; returns those."""
    last = list({grade.id: grade for grade in grades}.values())
    lines = "".join(json_line(grade.model_dump(mode="json")) for grade in last)
    replace_file(path, lines.encode("ascii"))
    return last


def read_grades(path: str | Path) -> list[Grade]:
    """The grades of a file, in order; a torn last line is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is no grade.
    """
    return [Grade.model_validate_json(line) for line in read_file(path, MAX_FILE_BYTES).split(b"\n")[:-1]]


def read_difficulties(path: str | Path) -> dict[str, float]:
    """Difficulty by prompt id, of the prompts that could be graded. Raises as `read_grades` does."""
    return {grade.id: grade.difficulty for grade in read_grades(path) if grade.difficulty is not None}


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What a prompt's grade depends on, by dotted key."""
    return chosen_settings(config, GRADED_SECTIONS, GRADED_FIELDS)


def changes(folder: Path, config: RunConfig) -> list[str]:
    """`rollout.temperature: 1.0 -> 0.7` for every setting that differs from what a folder was graded under."""
    before = read_settings(folder)
    return [] if before is None else list(differences(before, settings_of(config)))


def differing_settings(config: RunConfig) -> list[str]:
    """The `changes` since the grades that the configuration names; how many responses a group has does not count."""
    found = changes(Path(config.data.grades or "").parent, config)
    return [change for change in found if not change.startswith("rollout.group_size:")]
