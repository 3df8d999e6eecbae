"""Which charts a run's step records make: rewards per task with the levels to beat, then the run's health."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cluster.records.metrics import StepRecord
from cluster.records.result_records import METRICS, MetricResult, Results
from cluster.records.result_tables import component_name, metric_name
from cluster.report.charts import Chart, Level, Series
from rewards import Mode

PERCENT = 100.0
STAGES = ("rollout", "learn", "sync", "reward", "decode")


def task_charts(records: Sequence[StepRecord], results: Results | None, ended: bool = True) -> list[Chart]:
    """One chart per reported metric of each task, in percent, with the format reward beside it.

    Args:
        results: Gives the levels to beat.
        ended: False where the run was not evaluated after GRPO: what `results` says of that is not drawn.
    """
    seen = {task for record in records for task in record.tasks}
    return [
        task_chart(
            records,
            task,
            metric,
            _levels(_result(results, task, metric), ended),
            results.mode if results else None,
        )
        for task, metrics in METRICS.items()
        if task in seen
        for metric in metrics
    ]


def task_chart(
    records: Sequence[StepRecord], task: str, metric: str, levels: Sequence[Level], mode: Mode | None
) -> Chart:
    """A metric of the training responses over the steps, and what held-out evaluation says of it."""
    curves = [
        Series("format", "format", _component(records, task, "format")),
        Series(component_name(metric), "policy", _component(records, task, metric)),
    ]
    return Chart(
        metric_name(task, metric, mode),
        [record.step for record in records],
        curves,
        levels=levels,
        form=".1f",
        bottom=0.0,
        top=PERCENT,
    )


def health_charts(records: Sequence[StepRecord]) -> list[Chart]:
    """Mismatch, entropy, gradient norm, lengths and seconds per stage; those never measured are left out."""
    charts = [
        _chart(records, "Mismatch", {"mean exp|Δlogp|": lambda r: r.mismatch}, form=".6f"),
        _chart(records, "Entropy", {"nats per token": lambda r: r.entropy}),
        _chart(records, "Gradient norm", {"before clipping": lambda r: r.grad_norm}, bottom=0.0),
        _chart(
            records,
            "Response length, tokens",
            {"longest": lambda r: r.response_length_max, "mean": lambda r: r.response_length_mean},
            form=".0f",
            bottom=0.0,
        ),
        _chart(records, "Loss", {"loss": lambda r: r.loss}),
        _chart(records, "KL to the reference policy", {"nats per token": lambda r: r.kl}),
        _chart(
            records,
            "Staleness, weight versions",
            {"largest": lambda r: r.staleness_max, "mean": lambda r: r.staleness_mean},
            bottom=0.0,
        ),
        seconds_chart(records),
    ]
    return [chart for chart in charts if _measured(chart)]


def loss_charts(records: Sequence[StepRecord]) -> list[Chart]:
    """The cold start's supervised loss, if there was a cold start."""
    chart = _chart(records, "Cold start: supervised loss", {"loss": lambda r: r.loss}, bottom=0.0)
    return [chart] if _measured(chart) else []


def seconds_chart(records: Sequence[StepRecord]) -> Chart:
    """Seconds per stage, stacked."""
    series = [Series(stage, stage, [getattr(r.seconds, stage) for r in records]) for stage in STAGES]
    series.append(Series("other", "other", [_other_seconds(r) for r in records]))
    measured = [one for one in series if any(value is not None for value in one.values)]
    steps = [record.step for record in records]
    return Chart("Seconds per step", steps, measured, form=".2f", stacked=True)


def _other_seconds(record: StepRecord) -> float | None:
    """What of the step's time no stage accounts for; stages that overlap leave nothing."""
    if record.seconds.total is None:
        return None
    return max(record.seconds.total - sum(getattr(record.seconds, stage) or 0.0 for stage in STAGES), 0.0)


def _chart(
    records: Sequence[StepRecord],
    title: str,
    read: dict[str, Callable[[StepRecord], float | None]],
    form: str = ".3g",
    bottom: float | None = None,
) -> Chart:
    """A chart of plain figures; the last named is the main one."""
    colours = ("policy",) if len(read) == 1 else ("format", "policy")
    series = [
        Series(name, c, [get(r) for r in records])
        for (name, get), c in zip(read.items(), colours, strict=True)
    ]
    return Chart(title, [record.step for record in records], series, form=form, bottom=bottom)


def _component(records: Sequence[StepRecord], task: str, component: str) -> list[float | None]:
    values = [r.tasks[task].components.get(component) if task in r.tasks else None for r in records]
    return [None if value is None else PERCENT * value for value in values]


def _result(results: Results | None, task: str, metric: str) -> MetricResult | None:
    found = results.tasks[task].metrics if results and task in results.tasks else []
    return next((one for one in found if one.metric == metric), None)


def _levels(result: MetricResult | None, ended: bool) -> list[Level]:
    if result is None:
        return []
    to_beat = [
        Level("constant", "constant", result.constant),
        Level("cold start", "cold", result.cold_start.mean),
    ]
    after = result.grpo
    return [*to_beat, Level("held-out", "policy", after.mean, after.low, after.high)] if ended else to_beat


def _measured(chart: Chart) -> bool:
    return any(value is not None for series in chart.series for value in series.values)
