"""Step records on their way to dashboards: Ray's metrics endpoint and wandb."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from ray.util.metrics import Counter, Gauge

from cluster.records.metrics import StepRecord, scalars

PREFIX = "zoetrope_"
TAGS = ("run", "stage", "task", "component")
WANDB_PATIENCE_S = 20.0
# After Ctrl-C, which is to end a run within seconds.
WANDB_PATIENCE_IN_A_HURRY_S = 3.0


class Sink(Protocol):
    """A place that step records go to. Whatever it raises, the run goes on without it."""

    name: str

    def write(self, record: StepRecord) -> None:
        """Pass on a step's scalars without waiting for anybody."""

    def close(self, in_a_hurry: bool) -> None:
        """Pass on what is still held back, and let go: within seconds if in a hurry, whatever that loses."""


class RayMetricsSink:
    """Gauges of every scalar and counters of what adds up, on the metrics endpoint of the driver's Ray node.

    The names start with `zoetrope_` (Ray puts `ray_` in front); the tags are run, stage, task and component.
    """

    name = "Ray"

    def __init__(self, run_name: str) -> None:
        self._run_name = run_name
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}

    def write(self, record: StepRecord) -> None:
        """Set the gauges to this step's scalars and add its counts."""
        for scalar in scalars(record):
            self._gauge(scalar.name).set(scalar.value, self._tags(record, scalar.task, scalar.component))
        self._count("steps", 1, self._tags(record))
        for name in ("groups_dropped", "clips_skipped", "rewards_failed"):
            self._count(name, getattr(record, name), self._tags(record))
        for task, rewards in record.tasks.items():
            self._count("responses", rewards.responses, self._tags(record, task))
        for component, tokens in record.tokens.model_dump(exclude_none=True).items():
            self._count("tokens", tokens, self._tags(record, component=component))

    def close(self, in_a_hurry: bool) -> None:
        """Nothing is held back: Ray scrapes the last values by itself."""

    def _tags(self, record: StepRecord, task: str = "", component: str = "") -> dict[str, str]:
        return {"run": self._run_name, "stage": record.stage, "task": task, "component": component}

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            self._gauges[name] = Gauge(PREFIX + name, f"{name} of the latest optimizer step", TAGS)
        return self._gauges[name]

    def _count(self, name: str, amount: float, tags: dict[str, str]) -> None:
        if name not in self._counters:
            self._counters[name] = Counter(f"{PREFIX}{name}_total", f"{name} so far in this run", TAGS)
        if amount > 0:
            self._counters[name].inc(amount, tags)


class WandbSink:
    """wandb, driven from a thread of its own: its start, network and end never hold up the run.

    Args:
        mode: `offline` writes to `run_dir/wandb` for a later `wandb sync`.
        config: The resolved configuration of the run.
    """

    name = "wandb"

    def __init__(
        self,
        mode: Literal["offline", "online"],
        project: str,
        run_name: str,
        run_dir: Path,
        config: Mapping[str, Any],
    ) -> None:
        self._where: dict[str, Any] = {"mode": mode, "project": project, "name": run_name, "dir": run_dir}
        self._config = dict(config)
        self._records: queue.SimpleQueue[StepRecord | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="wandb", daemon=True)
        self._thread.start()

    def write(self, record: StepRecord) -> None:
        """Queue the record; raises what wandb raised since the last call."""
        self._raise_failure()
        self._records.put(record)

    def close(self, in_a_hurry: bool) -> None:
        """Give wandb a little time to finish; raises what it raised, or TimeoutError."""
        patience = WANDB_PATIENCE_IN_A_HURRY_S if in_a_hurry else WANDB_PATIENCE_S
        self._records.put(None)
        self._thread.join(patience)
        self._raise_failure()
        if self._thread.is_alive():
            raise TimeoutError(f"not finished after {patience:.0f} s")

    def _raise_failure(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        # Broad on purpose: the error travels to the next `write`, which hands it to the run's log.
        try:
            self._log_all()
        except Exception as error:
            self._error = error

    def _log_all(self) -> None:
        import wandb  # takes seconds; only a run that uses it pays

        # `console="off"`: wandb would otherwise wrap stdout, which the live display owns.
        patience = WANDB_PATIENCE_S - 5
        settings = wandb.Settings(console="off", silent=True, init_timeout=60, finish_timeout=patience)
        run = wandb.init(config=self._config, settings=settings, **self._where)
        for stage in ("cold_start", "grpo"):
            run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        while record := self._records.get():
            run.log({f"{record.stage}/{scalar.key}": scalar.value for scalar in scalars(record)})
        run.finish()
