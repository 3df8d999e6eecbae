"""The content of `results.json`: per task and metric, before and after GRPO, beside the constant answer."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from cluster.records.bootstrap import Interval, Rounded
from cluster.records.metrics import Text
from rewards import SPECS, Mode

METRICS: Mapping[str, tuple[str, ...]] = {
    name: (spec.main, *(part for part in spec.components if part not in (spec.main, "format")))
    for name, spec in SPECS.items()
}
"""The reward components reported for each task, the main one first."""


class MetricResult(BaseModel):
    """One metric of one task; every figure in percent.

    Attributes:
        constant: Score of the best single answer given to every clip, which needs no look at the video.
        gain: GRPO minus cold start on the same clips, its interval from paired differences.
    """

    model_config = ConfigDict(frozen=True)

    metric: str
    cold_start: Interval
    constant: Rounded
    constant_answer: Text
    grpo: Interval
    gain: Interval


class TaskResult(MetricResult):
    """A task's main metric, with what else is known of its held-out clips.

    Attributes:
        format_rate: Percent of responses with the right format, per stage.
        failed: Prompt ids that could not be evaluated; they count 0.
        also: Further metrics of the task.
    """

    clips: int
    format_rate: dict[str, Rounded]
    failed: list[Text]
    also: list[MetricResult] = []

    @property
    def metrics(self) -> list[MetricResult]:
        """Every metric of the task, the main one first."""
        return [self, *self.also]


class Results(BaseModel):
    """The content of `results.json`.

    Attributes:
        mode: How responses and constant answers were scored.
    """

    model_config = ConfigDict(frozen=True)

    mode: Mode = "strict"
    tasks: dict[str, TaskResult]
