"""What the display shows: the stage, how far it is, the time left, the latest step and the warnings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cluster.records.metrics import StepRecord
from cluster.records.result_records import METRICS

SMOOTHING = 0.1
WARNINGS_SHOWN = 5

Clock = Callable[[], float]


@dataclass
class Pace:
    """Time left of a stage, from the time since its start and how far it is.

    Attributes:
        total: How many steps or items the stage has; None when nobody knows.
        done: How many are finished, those before a resume included.
    """

    total: int | None
    started: float
    done: int = 0
    first: int = 0

    def seconds_left(self, now: float) -> float | None:
        """Seconds to the end at the pace so far; None before the first item or without a total."""
        finished = self.done - self.first
        if self.total is None or finished <= 0:
            return None
        return (now - self.started) / finished * max(self.total - self.done, 0)


@dataclass
class TaskView:
    """A task's moving averages over steps: mean total reward, and its main metric in percent."""

    reward: float | None = None
    metric: float | None = None


@dataclass
class ProgressState:
    """Everything a display needs, updated by the run and read by whoever draws it."""

    run_name: str
    clock: Clock = time.monotonic
    stage: str = ""
    pace: Pace = field(init=False)
    waiting: dict[str, float] = field(default_factory=dict)
    record: StepRecord | None = None
    tasks: dict[str, TaskView] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    warnings: deque[str] = field(default_factory=lambda: deque(maxlen=WARNINGS_SHOWN))
    warning_count: int = 0

    def __post_init__(self) -> None:
        self.pace = Pace(None, self.clock())

    def enter(self, stage: str, total: int | None, done: int) -> None:
        """Start a stage; `done` of its items were finished before a resume."""
        self.stage, self.pace, self.record = stage, Pace(total, self.clock(), done, done), None

    def take(self, record: StepRecord) -> None:
        """Take in a step: its place in the stage, and the moving averages of its tasks."""
        self.record, self.pace.done = record, record.step
        for task, rewards in record.tasks.items():
            view = self.tasks.setdefault(task, TaskView())
            view.reward = smoothed(view.reward, rewards.reward)
            main = rewards.components.get(METRICS[task][0]) if task in METRICS else None
            view.metric = smoothed(view.metric, None if main is None else 100 * main)

    def warn(self, message: str) -> None:
        """Keep a warning; only the latest are shown."""
        self.warnings.append(message)
        self.warning_count += 1


def smoothed(old: float | None, new: float | None) -> float | None:
    """Exponential moving average; a missing value changes nothing."""
    if old is None or new is None:
        return old if new is None else new
    return old + SMOOTHING * (new - old)


def spoken(seconds: float | None) -> str:
    """A duration as people say it: `12 s`, `3 min 20 s`, `2 h 5 min`; a dash when unknown."""
    if seconds is None:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def figure(value: float | None, form: str = ".3g") -> str:
    """A measured number, or a dash."""
    return "–" if value is None else format(value, form)


def step_seconds(record: StepRecord) -> str:
    """Time of the step and of its stages, the longest first: `5.2 s (rollout 3.1, learn 2.0)`."""
    seconds = record.seconds.model_dump(exclude={"total"}, exclude_none=True)
    longest_first = sorted(seconds.items(), key=lambda item: -item[1])
    stages = ", ".join(f"{name} {value:.1f}" for name, value in longest_first)
    return f"{figure(record.seconds.total, '.1f')} s{f' ({stages})' if stages else ''}"


def plain_line(state: ProgressState) -> str:
    """The latest step in one line, for logs."""
    record = state.record
    assert record is not None
    total = f"/{state.pace.total}" if state.pace.total else ""
    parts = [f"{state.stage} step {record.step}{total}"]
    parts += [f"{task} {figure(r.reward, '.2f')}" for task, r in record.tasks.items()]
    named = {
        "loss": figure(record.loss, ".4f"),
        "mismatch": figure(record.mismatch, ".6f"),
        "staleness": figure(record.staleness_mean, ".1f"),
        "grad norm": figure(record.grad_norm),
    }
    parts += [f"{name} {text}" for name, text in named.items() if text != "–"]
    counted = {"prompts skipped": record.clips_skipped, "rewards failed": record.rewards_failed}
    parts += [f"{count} {name}" for name, count in counted.items() if count]
    parts += [step_seconds(record)] if record.seconds.total is not None else []
    parts += [f"{spoken(left)} left"] if (left := state.pace.seconds_left(state.clock())) is not None else []
    return " | ".join(parts)
