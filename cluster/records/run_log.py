"""Where a run's records go: the JSONL files, which must not fail, and wandb and Ray, which may.

A sink that fails is reported once and left out from then on; it never stops or delays the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from cluster.records.json_lines import JsonLines, keep_through
from cluster.records.metric_sinks import Sink
from cluster.records.metrics import SampleRecord, Stage, StepRecord

STEPS_FILE = "metrics.jsonl"
COLD_START_FILE = "cold_start.jsonl"
SAMPLES_FILE = "samples.jsonl"


class RunLog:
    """The records of one run.

    Args:
        run_dir: Folder of the run.
        sinks: Further places for step records.
        warn: Told once about each sink that fails.
        stage: Stage that the run starts or resumes in.
        after_step: Last step of that stage already done. Records of anything later are dropped first, so the
            defaults empty all files for a run from the start.

    Raises:
        OSError: the files cannot be written.
    """

    def __init__(
        self,
        run_dir: Path,
        sinks: Sequence[Sink] = (),
        warn: Callable[[str], None] = print,
        stage: Stage = Stage.COLD_START,
        after_step: int = 0,
    ) -> None:
        cut_back(run_dir, stage, after_step)
        self._cold_start = JsonLines(run_dir / COLD_START_FILE)
        self._steps = JsonLines(run_dir / STEPS_FILE)
        self._samples = JsonLines(run_dir / SAMPLES_FILE)
        self._sinks = list(sinks)
        self._warn = warn

    def step(self, record: StepRecord) -> None:
        """Record a step: one flushed line, then the sinks."""
        (self._cold_start if record.stage is Stage.COLD_START else self._steps).append(record)
        for sink in list(self._sinks):
            self._guarded(sink, partial(sink.write, record))

    def samples(self, records: Iterable[SampleRecord]) -> None:
        """Record the responses of a step."""
        self._samples.append(*records)

    def close(self, in_a_hurry: bool = False) -> None:
        """Close the sinks, which get less time for it in a hurry, then the files."""
        with ExitStack() as stack:
            for file in (self._cold_start, self._steps, self._samples):
                # One that cannot be flushed raises here once more.
                stack.callback(file.close)
            for sink in list(self._sinks):
                self._guarded(sink, partial(sink.close, in_a_hurry))

    def _guarded(self, sink: Sink, action: Callable[[], None]) -> None:
        # Broad on purpose: whatever wandb or Ray raise, the run is worth more than its dashboards.
        try:
            action()
        except Exception as error:
            self._sinks.remove(sink)
            self._warn(f"{sink.name} gets no more metrics ({error!r}); {STEPS_FILE} has them all")


def cut_back(run_dir: Path, stage: Stage, after_step: int) -> None:
    """Drop every record later than a step of a stage: the run resumes there and will write them anew."""
    in_cold_start = stage is Stage.COLD_START
    if in_cold_start:
        keep_through(run_dir / COLD_START_FILE, StepRecord, after_step)
    for name, kind in ((STEPS_FILE, StepRecord), (SAMPLES_FILE, SampleRecord)):
        keep_through(run_dir / name, kind, -1 if in_cold_start else after_step)
