"""A run around its stages: its folder, what may be resumed, what is left when it fails."""

from __future__ import annotations

import errno
from contextlib import ExitStack, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.config import RunConfig
from cluster.config.fields import all_fields, sections
from cluster.config.loading import load_config
from cluster.config.stored import FREE_FIELDS, FREE_SECTIONS
from cluster.errors import ConfigError, RunFailure, RunFolderGone
from cluster.inputs.prompts import PromptSet
from cluster.records.json_lines import read_records
from cluster.records.metrics import Stage, StepRecord
from cluster.training import run as module
from cluster.training import stages
from cluster.training.training_loop import Frontier
from data.schema import Task
from learner.checkpoint import seal, unfinished_name
from tests.cluster.fakes import FakeProgress, make_config, make_prompts
from tests.cluster.run_fixture import make_run
from tests.cluster.test_run_folder import held_elsewhere


def claim(config: RunConfig, resume: bool) -> Frontier | None:
    with ExitStack() as stack:
        return module._claim(config, resume, stack)[1]


def test_a_new_run_keeps_the_folder_of_an_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(tmp_path / "run")
    for number in range(3):
        assert claim(config, resume=False) is None
        (config.run_dir / f"from-{number}").touch()
    assert [next(iter(tmp_path.glob(f"{name}/from-*"))).name for name in ("run", "run.1", "run.2")] == [
        "from-2",
        "from-0",
        "from-1",
    ]
    assert "it is kept as run.2" in capsys.readouterr().out


def test_the_configuration_in_the_folder_is_the_runs(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", rollout={"group_size": 5}, data={"tasks": {Task.TRACKING: 1.0}})
    claim(config, resume=False)
    fields = yaml.safe_load((config.run_dir / "config.yaml").read_text())
    assert RunConfig.model_validate(fields, strict=False) == config


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run")
    with pytest.raises(ConfigError, match="holds no run to resume; start it without --resume"):
        claim(config, resume=True)
    claim(config, resume=False)
    assert claim(config, resume=True) == Frontier()


def test_a_resumed_run_may_not_become_another(tmp_path: Path) -> None:
    began = make_config(tmp_path / "run", rollout={"group_size": 4}, data={"tasks": {Task.TRACKING: 1.0}})
    claim(began, resume=False)
    changed = make_config(
        tmp_path / "run",
        rollout={"group_size": 8},
        data={"tasks": {Task.TRACKING: 2.0}},
        learner={"num_workers": 2, "learning_rate": 1e-3},
        evaluation={"max_response_tokens": 9},
        grpo={"steps": 9},
    )
    with pytest.raises(ConfigError) as error:
        claim(changed, resume=True)
    assert [line for line in str(error.value).splitlines() if line.startswith("  - ")] == [
        '  - data.tasks: {"tracking": 1.0} -> {"tracking": 2.0}',
        "  - rollout.group_size: 4 -> 8",
        "  - learner.num_workers: 1 -> 2",
        "  - learner.learning_rate: 1e-06 -> 0.001",
        "  - evaluation.max_response_tokens: null -> 9",
    ]
    assert load_config(began.run_dir / "config.yaml") == began


def test_a_resumed_run_keeps_its_datasets(tmp_path: Path) -> None:
    def config(**fields: Any) -> RunConfig:
        entry = {"name": "a", "format": "jsonl", "annotations": "a.jsonl"} | fields
        datasets = ({**entry}, {**entry, "name": "b"})
        return make_config(tmp_path / "run", data={"datasets": datasets}, model={"path": "owner/name"})

    claim(config(), resume=False)
    assert claim(config(), resume=True) == Frontier()
    with pytest.raises(ConfigError) as error:
        claim(config(cap=3), resume=True)
    assert [line for line in str(error.value).splitlines() if line.startswith("  - ")] == [
        "  - data.datasets[0].cap: null -> 3",
        "  - data.datasets[1].cap: null -> 3",
    ]


def test_a_resumed_run_may_go_further_and_elsewhere(tmp_path: Path) -> None:
    claim(make_config(tmp_path / "run"), resume=False)
    (tmp_path / "run").rename(tmp_path / "moved")
    changed = make_config(
        tmp_path / "moved",
        rollout={"num_workers": 3, "request_timeout_s": 5.0, "gpus_per_worker": 1.0},
        learner={"micro_batch_tokens": 8000, "step_timeout_s": 5.0},
        grpo={"steps": 9, "mismatch_bound": 1.2},
        checkpoint={"every_steps": 3},
        sync={"backend": "gloo"},
    )
    assert claim(changed, resume=True) == Frontier()
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
        claim(config, resume=False)

    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # Root may write anywhere, and tests may be root.
    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(ConfigError, match="Permission denied") as error:
        claim(config, resume)
    assert f"folder {config.run_dir} cannot be made or written" in str(error.value)
    assert "give another folder: run.output_dir=" in str(error.value)


def test_the_constant_answers_are_in_percent_and_by_task() -> None:
    held_out = [*make_prompts(4), *make_prompts(3, Task.MULTIPLE_CHOICE)]
    constants = module._constants(held_out, make_config())
    assert constants == {"temporal_grounding": pytest.approx(100.0), "multiple_choice": 100.0}


def test_a_run_that_fails_still_leaves_its_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", logging={"wandb_mode": "disabled", "ray_metrics": False})
    prompts = PromptSet(make_prompts(3), make_prompts(2, prefix="h"), {})
    monkeypatch.setattr(module, "prepare_prompts", lambda config, progress, files: prompts)
    monkeypatch.setattr(module, "ray_session", lambda config: nullcontext())

    def fail(*arguments: Any) -> None:
        raise RunFailure("the reason")

    monkeypatch.setattr(stages, "carry_out", fail)
    with pytest.raises(RunFailure, match="the reason"):
        module.run(config)
    facts = module.read_facts(config.run_dir)
    assert facts is not None
    assert (facts.name, facts.steps) == ("run", 0)


@pytest.mark.parametrize(
    ("error", "hurried"), [(KeyboardInterrupt(), True), (RunFailure("the reason"), False)]
)
def test_only_an_interrupt_leaves_the_sinks_little_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException, hurried: bool
) -> None:
    config = make_config(tmp_path / "run", logging={"wandb_mode": "disabled", "ray_metrics": False})
    config.run_dir.mkdir()
    closed: list[bool] = []
    monkeypatch.setattr(module.RunLog, "close", lambda log, in_a_hurry: closed.append(in_a_hurry))
    with pytest.raises(type(error)), module._run_log(config, None, FakeProgress()):  # type: ignore[arg-type]
        raise error
    assert closed == [hurried]


def test_a_supervised_stage_that_is_resumed_keeps_its_records_up_to_the_checkpoint(tmp_path: Path) -> None:
    quiet = {"wandb_mode": "disabled", "ray_metrics": False}
    config = make_config(tmp_path / "run", logging=quiet, run={"algorithm": "sft"})
    folder = config.run_dir / "cold_start_checkpoints"
    (folder / unfinished_name(2)).mkdir(parents=True)
    seal(folder, 2, {"step": 2, "mix": {}}, {}, keep=2)
    records = [StepRecord(step=step, stage=Stage.COLD_START) for step in (1, 2, 3)]
    (config.run_dir / "cold_start.jsonl").write_text("".join(f"{r.model_dump_json()}\n" for r in records))
    with module._run_log(config, Frontier(), FakeProgress()):  # type: ignore[arg-type]
        pass
    kept = read_records(config.run_dir / "cold_start.jsonl", StepRecord)
    assert [record.step for record in kept] == [1, 2]


@pytest.mark.parametrize("broken", ["write_report", "rich_table"])
def test_the_report_and_the_table_do_not_lose_each_other(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(tmp_path / "run")
    make_run(config.run_dir)

    def fail(*arguments: Any) -> None:
        raise ValueError("the reason")

    monkeypatch.setattr(module, broken, fail)
    with pytest.raises(ValueError, match="the reason"):
        module._show_outcome(config)
    said = capsys.readouterr().out
    assert ("Held-out results" in said) == (broken == "write_report")
    assert (config.run_dir / "report.html").exists() == (broken == "rich_table") == ("report: " in said)


def test_a_run_that_loses_its_folder_ends_with_that_and_leaves_nothing_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = make_config(tmp_path / "run", logging={"wandb_mode": "disabled", "ray_metrics": False})
    prompts = PromptSet(make_prompts(3), make_prompts(2, prefix="h"), {})
    monkeypatch.setattr(module, "prepare_prompts", lambda config, progress, files: prompts)
    monkeypatch.setattr(module, "ray_session", lambda config: nullcontext())

    def lose(*arguments: Any) -> None:
        config.run_dir.rename(tmp_path / "moved")
        (config.run_dir / "policy").mkdir(parents=True)  # as a learner rank that saves would
        raise RunFailure("a consequence")

    monkeypatch.setattr(stages, "carry_out", lose)
    with pytest.raises(RunFolderGone, match=f"{config.run_dir} is gone"):
        module.run(config)
    assert [path.name for path in config.run_dir.iterdir()] == ["policy"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_is_under_way_keeps_its_folder(tmp_path: Path, resume: bool) -> None:
    config = make_config(tmp_path / "run")
    claim(config, resume=False)
    with held_elsewhere(config.run_dir), pytest.raises(ConfigError, match="is in use: process"):
        claim(config, resume)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_record_and_damaged_facts_are_told(tmp_path: Path) -> None:
    quiet = {"wandb_mode": "disabled", "ray_metrics": False}
    config = make_config(tmp_path / "run", logging=quiet, model={"path": "owner/name"})
    claim(config, resume=False)
    (config.run_dir / "facts.json").write_text("[]")
    progress = module.make_progress("run")
    module._write_facts(config, datetime.now(), 1.0, progress)
    assert "damaged" in progress.state.warnings[0]
    assert module.read_facts(config.run_dir) is not None
    (config.run_dir / "metrics.jsonl").write_text('{"step": 1}\n[]\n')
    with (
        pytest.raises(ConfigError, match=r"metrics\.jsonl:2: "),
        module._run_log(config, Frontier(), progress),
    ):
        pass
