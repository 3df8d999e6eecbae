"""The display: plain flushed lines in a log, one panel on a terminal, honest about what is waited for."""

from __future__ import annotations

import io
import re
import time

import pytest

from cluster.progress.display import LiveProgress, PlainProgress, make_progress
from cluster.progress.state import ProgressState, smoothed, spoken
from cluster.progress.view import draw
from cluster.records.metrics import PerStage, Stage, StepRecord, TaskRewards
from rewards.terminal import Terminal


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Pipe(io.StringIO):
    """A log that knows how much of it was flushed."""

    flushed = 0

    def flush(self) -> None:
        self.flushed = len(self.getvalue())


class TerminalFile(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(step: int, iou: float = 0.4) -> StepRecord:
    rewards = TaskRewards(reward=1.0 + iou, components={"format": 1.0, "iou": iou}, responses=8)
    seconds = PerStage(decode=0.1, rollout=1.5, learn=3.0, total=4.7)
    return StepRecord(
        step=step,
        stage=Stage.GRPO,
        tasks={"tracking": rewards},
        mismatch=1.00002,
        staleness_mean=0,
        seconds=seconds,
    )


def plain(log_every: int = 1, heartbeat: float = 60) -> tuple[PlainProgress, Pipe]:
    pipe = Pipe()
    return PlainProgress("night", Terminal(file=pipe, width=40), log_every, heartbeat), pipe


def screen(state: ProgressState, width: int = 80) -> str:
    console = Terminal(file=io.StringIO(), width=width)
    console.print(draw(state))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_log_gets_one_flushed_line_per_step_however_narrow_the_console() -> None:
    progress, pipe = plain()
    with progress:
        progress.stage("GRPO", total=2)
        for step in (1, 2):
            before = pipe.getvalue().count("\n")
            progress.step(record(step))
            assert pipe.getvalue().count("\n") == before + 1
            assert pipe.flushed == len(pipe.getvalue())
    line = pipe.getvalue().splitlines()[-1]
    for part in ("GRPO step 2/2", "tracking 1.40", "mismatch 1.000020", "4.7 s (learn 3.0, rollout 1.5"):
        assert part in line
    assert "\x1b" not in pipe.getvalue()


def test_log_every_thins_the_lines_and_keeps_the_last() -> None:
    progress, pipe = plain(log_every=4)
    with progress:
        progress.stage("GRPO", total=10)
        for step in range(1, 11):
            progress.step(record(step))
    steps = [line.split(" |")[0] for line in pipe.getvalue().splitlines() if "step" in line]
    assert steps == ["GRPO step 4/10", "GRPO step 8/10", "GRPO step 10/10"]


def test_a_log_says_what_is_waited_for_at_once_meanwhile_and_afterwards() -> None:
    progress, pipe = plain(heartbeat=0.02)
    with progress, progress.waiting("starting 1 rollout worker (vLLM)"):
        assert "starting 1 rollout worker (vLLM) ...\n" in pipe.getvalue()
        deadline = time.monotonic() + 60
        while not re.search(r"\(vLLM\) \.\.\. \d+ s\n", pipe.getvalue()):
            assert time.monotonic() < deadline, pipe.getvalue()
            time.sleep(0.01)
    assert re.search(r"starting 1 rollout worker \(vLLM\): \d+ s\n$", pipe.getvalue())


def test_what_failed_to_start_is_not_reported_as_started() -> None:
    progress, pipe = plain()
    with pytest.raises(RuntimeError), progress, progress.waiting("starting 1 rollout worker (vLLM)"):
        raise RuntimeError
    assert "(vLLM): " not in pipe.getvalue()
    assert not progress.state.waiting


def test_the_display_fits_where_the_output_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_progress("night", console=Terminal(file=Pipe())), PlainProgress)
    assert isinstance(make_progress("night", console=Terminal(file=TerminalFile())), LiveProgress)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(make_progress("night", console=Terminal(file=TerminalFile())), PlainProgress)


def test_the_live_display_shows_the_latest_state_and_leaves_it_on_the_screen() -> None:
    terminal = TerminalFile()
    console = Terminal(file=terminal, force_terminal=True, width=100, height=40)
    with LiveProgress("night", console) as progress:
        progress.stage("GRPO", total=5)
        progress.step(record(5))
        progress.say("report: runs/night/report.html")
    assert "report: runs/night/report.html" in terminal.getvalue()
    assert "5/5" in terminal.getvalue().rsplit("zoetrope", 1)[1]


def test_time_left_counts_only_the_steps_of_this_start() -> None:
    clock = Clock()
    state = ProgressState("night", clock)
    state.enter("GRPO", total=500, done=400)
    assert state.pace.seconds_left(clock()) is None
    clock.now += 30
    state.take(record(410))
    assert state.pace.seconds_left(clock()) == pytest.approx(270)


def test_the_panel_shows_the_constant_answer_beside_each_task_and_the_warnings() -> None:
    state = ProgressState("night", Clock())
    state.enter("GRPO", total=50, done=0)
    state.constants = {"tracking": 28.1}
    state.take(record(7, iou=0.437))
    for number in range(8):
        state.warn(f"clip {number} was quarantined")
    shown = screen(state)
    for part in ("7/50", "43.7%", "28.1%", "1.000020", "clip 7 was quarantined", "and 3 earlier warnings"):
        assert part in shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_the_panel_counts_the_seconds_of_what_is_waited_for() -> None:
    clock = Clock()
    state = ProgressState("night", clock)
    state.waiting["starting 1 rollout worker (vLLM)"] = 0.0
    clock.now = 12.2
    assert "starting 1 rollout worker (vLLM): 12 s" in screen(state)


def test_smoothing_survives_a_step_without_the_task() -> None:
    assert smoothed(None, 0.5) == 0.5
    assert smoothed(0.5, None) == 0.5
    assert 0.5 < (smoothed(0.5, 1.0) or 0) < 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (11.6, "12 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, text: str) -> None:
    assert spoken(seconds) == text
