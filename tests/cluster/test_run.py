"""A run from start to end: what it does in which order, and what a resumed one has behind it."""

from __future__ import annotations

import errno
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import run as module
from cluster.config import RunConfig
from cluster.config_fields import all_fields, sections
from cluster.config_loading import load_config
from cluster.errors import ConfigError, RunFailure
from cluster.eval_records import eval_path
from cluster.prompts import PromptSet
from cluster.stored_config import FREE_FIELDS, FREE_SECTIONS
from cluster.training_loop import Frontier
from data.failures import ActorFailure
from data.schema import Task
from tests.cluster.fakes import FakeLearner, FakeProgress, FakeSystem, make_config, make_prompts

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
        monkeypatch.setattr(module, "_initial_policy", lambda config: Path("initial"))
        monkeypatch.setattr(module, "_write_results", lambda config: self.events.append("results"))
        monkeypatch.setattr(FakeLearner, "export_hf", lambda learner, folder: self.events.append("export"))

    def stages(self, frontier: Frontier | None) -> list[str]:
        with ExitStack() as stack:
            module._stages(self.config, stack, None, PROMPTS, None, FakeProgress(), frontier)  # type: ignore[arg-type]
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
        "connect 40",
        "evaluate cold_start",
        "train",
        "evaluate grpo",
        "export",
        "results",
        "shutdown",
    ]
    assert recorded.started_from == Frontier(version=40)


def test_a_resumed_run_does_not_repeat_what_it_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    (config.run_dir / "cold_start_policy").mkdir(parents=True)
    eval_path(config.run_dir, "cold_start").touch()
    recorded = Recorded(monkeypatch, config, Frontier(step=50, position=800, version=90))
    assert recorded.stages(Frontier(step=50, position=800, version=90))[:4] == [
        "workers on cold_start_policy",
        "learner on cold_start_policy",
        "connect 90",
        "train",
    ]
    assert recorded.started_from == Frontier(50, 800, 90)


def test_a_run_that_ended_in_its_cold_start_begins_it_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run"), Frontier(version=40))
    assert recorded.stages(Frontier())[:2] == ["workers on initial", "cold start"]


def test_a_trained_model_needs_no_cold_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run", model={"path": "a/model"}), Frontier())
    assert "cold start" not in recorded.stages(None)


def test_a_supervised_run_ends_with_its_evaluation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recorded = Recorded(monkeypatch, make_config(tmp_path / "run", run={"algorithm": "sft"}), Frontier())
    assert recorded.stages(None)[1:] == ["cold start", "connect 41", "evaluate cold_start", "shutdown"]


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
    assert module._initial_policy(make_config(model={"path": "policy"})) == tmp_path / "policy"
    assert module._initial_policy(make_config(model={"path": "owner/name"})) == "owner/name"
    (tmp_path / "runs" / "run" / "cold_start_policy").mkdir(parents=True)
    recorded = Recorded(monkeypatch, make_config(), Frontier())
    recorded.stages(Frontier(step=1))
    assert recorded.models == [tmp_path / "runs" / "run" / "cold_start_policy"]


def test_a_new_run_keeps_the_folder_of_an_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(tmp_path / "run")
    for number in range(3):
        assert module._claim(config, resume=False) is None
        (config.run_dir / f"from-{number}").touch()
    assert [next(iter(tmp_path.glob(f"{name}/from-*"))).name for name in ("run", "run.1", "run.2")] == [
        "from-2",
        "from-0",
        "from-1",
    ]
    assert "it is kept as run.2" in capsys.readouterr().out


def test_the_configuration_in_the_folder_is_the_runs(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", rollout={"group_size": 5}, data={"tasks": {Task.TRACKING: 1.0}})
    module._claim(config, resume=False)
    fields = yaml.safe_load((config.run_dir / "config.yaml").read_text())
    assert RunConfig.model_validate(fields, strict=False) == config


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    with pytest.raises(RunFailure, match="holds no run to resume; start it without --resume"):
        module._claim(config, resume=True)
    module._claim(config, resume=False)
    assert module._claim(config, resume=True) == Frontier()


def test_a_resumed_run_may_not_become_another(tmp_path: Path) -> None:
    began = make_config(tmp_path / "run", rollout={"group_size": 4}, data={"tasks": {Task.TRACKING: 1.0}})
    module._claim(began, resume=False)
    changed = make_config(
        tmp_path / "run",
        rollout={"group_size": 8},
        data={"tasks": {Task.TRACKING: 2.0}},
        learner={"num_workers": 2, "learning_rate": 1e-3},
        evaluation={"max_response_tokens": 9},
        grpo={"steps": 9},
    )
    with pytest.raises(ConfigError) as error:
        module._claim(changed, resume=True)
    assert [line for line in str(error.value).splitlines() if line.startswith("  - ")] == [
        '  - data.tasks: {"tracking": 1.0} -> {"tracking": 2.0}',
        "  - rollout.group_size: 4 -> 8",
        "  - learner.num_workers: 1 -> 2",
        "  - learner.learning_rate: 1e-06 -> 0.001",
        "  - evaluation.max_response_tokens: null -> 9",
    ]
    assert load_config(began.run_dir / "config.yaml") == began


def test_a_resumed_run_may_go_further_and_elsewhere(tmp_path: Path) -> None:
    module._claim(make_config(tmp_path / "run"), resume=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    changed = make_config(
        tmp_path / "moved",
        rollout={"num_workers": 3, "request_timeout_s": 5.0, "gpus_per_worker": 1.0},
        learner={"micro_batch_tokens": 8000, "step_timeout_s": 5.0},
        grpo={"steps": 9, "mismatch_bound": 1.2},
        checkpoint={"every_steps": 3},
        sync={"backend": "gloo"},
    )
    assert module._claim(changed, resume=True) == Frontier()
    assert load_config(changed.run_dir / "config.yaml") == changed


def test_what_a_resumed_run_may_change_are_fields() -> None:
    names = {f"{section}.{name}" for section, its in FREE_FIELDS.items() for name in its}
    assert names <= set(all_fields())
    assert set(sections()) >= FREE_SECTIONS


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_that_cannot_be_written_is_named_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: bool
) -> None:
    config = make_config(tmp_path / "runs" / "run")
    if resume:
        module._claim(config, resume=False)

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Root may write anywhere, and tests may be root.
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(ConfigError, match="Permission denied") as error:
        module._claim(config, resume)
    assert f"folder {config.run_dir} cannot be made or written" in str(error.value)
    assert "give another folder: run.output_dir=" in str(error.value)


def test_the_constant_answers_are_in_percent_and_by_task() -> None:
    held_out = [*make_prompts(4), *make_prompts(3, Task.MULTIPLE_CHOICE)]
    constants = module._constants(held_out, make_config())
    assert constants == {"temporal_grounding": pytest.approx(100.0), "multiple_choice": 100.0}


def test_a_run_that_fails_still_leaves_its_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", logging={"wandb_mode": "disabled", "ray_metrics": False})
    monkeypatch.setattr(module, "prepare_prompts", lambda config, progress, files: PROMPTS)
    monkeypatch.setattr(module, "ray_session", lambda config: nullcontext())

    def fail(*arguments: Any) -> None:
        raise RunFailure("the reason")

    monkeypatch.setattr(module, "_stages", fail)
    with pytest.raises(RunFailure, match="the reason"):
        module.run(config)
    facts = module.read_facts(config.run_dir)
    assert facts is not None
    assert (facts.name, facts.steps) == ("run", 0)
