"""The stages of a run: what it does in which order, and what a resumed one has behind it."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.inputs.prompts import PromptSet
from cluster.records.eval_records import eval_path
from cluster.training import stages as module
from cluster.training.frontier import Frontier
from data.failures import ActorFailure
from tests.cluster.fakes import FakeProgress, FakeSystem, make_config, make_prompts

PROMPTS = PromptSet(make_prompts(3), make_prompts(2, prefix="h"), {})


class Recorded:
    """A run whose stages only note that they were reached."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, config: RunConfig, checkpoint: Frontier) -> None:
        self.config = config
        self.events: list[str] = []
        self.models: list[Path] = []
        self.system = FakeSystem()
        self.system.events = self.events
        self.started_from: Frontier | None = None
        monkeypatch.setattr(module, "System", self._start)
        monkeypatch.setattr(module, "cold_start", self._cold_start)
        monkeypatch.setattr(
            module, "evaluate", lambda *arguments: self.events.append(f"evaluate {arguments[3]}")
        )
        monkeypatch.setattr(module.training_loop, "train", self._train)
        monkeypatch.setattr(module.training_loop, "load", lambda *arguments: checkpoint)
        monkeypatch.setattr(module, "initial_policy", lambda config: Path("initial"))
        monkeypatch.setattr(module, "_write_results", lambda config: self.events.append("results"))

    def stages(self, frontier: Frontier | None) -> list[str]:
        with ExitStack() as stack:
            module.carry_out(self.config, stack, None, PROMPTS, None, FakeProgress(), frontier)  # type: ignore[arg-type]
        return self.events

    def _start(self, config: RunConfig, progress: Any, files: Any, model_path: Path) -> FakeSystem:
        self.models.append(model_path)
        self.events.append(f"workers on {Path(model_path).name}")
        return self.system

    def _cold_start(self, config: RunConfig, system: Any, *rest: Any) -> Path:
        self.events.append("cold start")
        system.version = 40
        return config.run_dir / "cold_start_policy"

    def _train(self, *arguments: Any) -> None:
        self.started_from = arguments[-1]
        self.events.append("train")


def test_a_new_run_does_everything_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run"), Frontier())
    assert recorded.stages(None) == [
        "workers on initial",
        "cold start",
        "learner on cold_start_policy",
        "evaluate cold_start",
        "connect 40",
        "train",
        "evaluate grpo",
        "results",
        "shutdown",
    ]
    assert recorded.started_from == Frontier(version=40)


def test_a_resumed_run_does_not_repeat_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    (config.run_dir / "cold_start_policy").mkdir(parents=True)
    eval_path(config.run_dir, "cold_start").touch()
    recorded = Recorded(monkeypatch, config, Frontier(step=50, version=90))
    assert recorded.stages(Frontier(step=50, version=90))[:4] == [
        "workers on cold_start_policy",
        "learner on cold_start_policy",
        "connect 90",
        "train",
    ]
    assert recorded.started_from == Frontier(50, 90)


def test_a_run_that_ended_in_its_cold_start_begins_it_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run"), Frontier(version=40))
    assert recorded.stages(Frontier())[:2] == ["workers on initial", "cold start"]


def test_a_trained_model_needs_no_cold_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run", model={"path": "a/model"}), Frontier())
    assert "cold start" not in recorded.stages(None)


def test_a_supervised_run_ends_with_its_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", run={"algorithm": "sft"})
    (config.run_dir / "cold_start_policy").mkdir(parents=True)
    recorded = Recorded(monkeypatch, config, Frontier())
    assert recorded.stages(None)[1:] == ["cold start", "evaluate cold_start", "shutdown"]
    # Where evaluation looks for the policy of any run; a resumed run finds it there.
    assert (config.run_dir / "policy").resolve() == (config.run_dir / "cold_start_policy").resolve()
    assert Recorded(monkeypatch, config, Frontier()).stages(Frontier())[-2:] == [
        "evaluate cold_start",
        "shutdown",
    ]


def test_an_interruption_by_the_watch_is_the_failure_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run"), Frontier())
    found = ActorFailure("reward-0", "running", "killed")

    class Watch(nullcontext[Any]):
        def __init__(self, actors: Any) -> None:
            super().__init__(self)
            self.failure = found

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "ActorWatch", Watch)
    monkeypatch.setattr(module.training_loop, "train", interrupted)
    with pytest.raises(ActorFailure) as raised:
        recorded.stages(None)
    assert raised.value is found
    assert recorded.events[-1] == "shutdown"


def test_the_actors_are_ended_whatever_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run"), Frontier())

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.training_loop, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorded.stages(None)
    assert recorded.events[-1] == "shutdown"


def test_actors_are_given_absolute_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An actor's working folder may be another copy of the project, on another machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").mkdir()
    assert module.initial_policy(make_config(model={"path": "policy"})) == tmp_path / "policy"
    assert module.initial_policy(make_config(model={"path": "owner/name"})) == "owner/name"
    (tmp_path / "runs" / "run" / "cold_start_policy").mkdir(parents=True)
    recorded = Recorded(monkeypatch, make_config(), Frontier())
    recorded.stages(Frontier(step=1))
    assert recorded.models == [tmp_path / "runs" / "run" / "cold_start_policy"]
