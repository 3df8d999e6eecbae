"""Grading: every prompt is graded once, by its own responses, and never again under the same settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.config import RunConfig
from cluster.config.fields import all_fields, sections
from cluster.errors import ConfigError
from cluster.grade import app, grading_config
from cluster.grading import grading
from cluster.grading.grading import claim, grade, ungraded
from cluster.grading.table import EDGES, grade_table, histogram
from cluster.inputs.grades import (
    GRADED_FIELDS,
    GRADED_SECTIONS,
    Grade,
    append_grades,
    read_difficulties,
    read_grades,
    settings_of,
)
from cluster.inputs.prompts import PromptSet
from data.schema import Task
from rewards.terminal import Terminal
from tests.cluster.fakes import FakeProgress, FakeSystem, make_config, make_prompts, own_score

PROMPTS = make_prompts(7)
BROKEN = 2


def graded(config: RunConfig, system: FakeSystem, count: int = len(PROMPTS)) -> list[Grade]:
    known = claim(config)
    left = ungraded(PROMPTS[:count], known)
    return known + grade(config, system, left, count, FakeProgress())  # type: ignore[arg-type]


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return make_config(tmp_path / "run", rollout={"group_size": 4})


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_every_prompt_is_graded_by_its_own_responses(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(grading, "CHUNK", chunk)
    system = FakeSystem(broken={PROMPTS[BROKEN].id}, flat={"p4"})
    found = graded(config, system)
    assert found == read_grades(config.run_dir / "grades.jsonl")
    assert [one.id for one in found] == [prompt.id for prompt in PROMPTS]
    for prompt, one in zip(PROMPTS, found, strict=True):
        totals = [own_score(prompt.id) + (0 if prompt.id == "p4" else index) for index in range(4)]
        if prompt is PROMPTS[BROKEN]:
            assert (one.n, one.mean, one.difficulty, one.problem) == (0, None, None, "p2 is broken")
        else:
            assert (one.n, one.mean, one.std) == (4, fmean(totals), pytest.approx(pstdev(totals)))
            assert one.components == {"iou": fmean(totals)}
            assert one.problem is None
    assert system.rewards.by_rule and not any(system.rewards.by_rule)


def test_what_is_graded_is_not_sampled_again(config: RunConfig) -> None:
    graded(config, FakeSystem(), count=3)
    with (config.run_dir / "grades.jsonl").open("a") as file:
        file.write('{"id": "p3", "torn')
    system = FakeSystem()
    found = graded(config, system)
    assert system.fleet.submitted == ["p3", "p4", "p5", "p6"]
    assert [one.id for one in found] == [one.id for one in read_grades(config.run_dir / "grades.jsonl")]
    assert {one.id for one in found} == {prompt.id for prompt in PROMPTS}


def test_a_prompt_that_could_not_be_used_is_tried_again(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = FakeSystem(broken={"p2"}), FakeSystem()
    for system in systems:

        @contextmanager
        def serving(*arguments: Any, system: FakeSystem = system) -> Iterator[FakeSystem]:
            yield system

        monkeypatch.setattr(grading, "sampling_system", serving)
        monkeypatch.setattr(grading, "prepare_training", lambda *arguments: PromptSet(PROMPTS, [], {}))
        grading.grade_prompts(config)
    assert systems[1].fleet.submitted == ["p2"]
    found = read_grades(config.run_dir / "grades.jsonl")
    assert [(one.id, one.n) for one in found] == [(prompt.id, 4) for prompt in PROMPTS]


def test_a_prompt_is_sampled_alike_whatever_else_is_graded(config: RunConfig, tmp_path: Path) -> None:
    systems = FakeSystem(), FakeSystem()
    graded(config, systems[0])
    other = make_config(tmp_path / "other", rollout={"group_size": 4})
    grade(other, systems[1], PROMPTS[5:], 2, FakeProgress()) if not claim(other) else None  # type: ignore[arg-type]
    first, second = (
        {request.prompt.id: request.sampling for batch in system.fleet.batches for request in batch}
        for system in systems
    )
    assert {name: first[name] for name in second} == second
    assert len({sampling.seed for sampling in first.values()}) == len(PROMPTS)
    assert {(s.group_size, s.temperature, s.max_tokens) for s in first.values()} == {(4, 1.0, 512)}


def test_other_settings_refuse_to_share_a_file(config: RunConfig, tmp_path: Path) -> None:
    graded(config, FakeSystem())
    faster = make_config(
        tmp_path / "run", rollout={"group_size": 4, "num_workers": 2}, grpo={"steps": 9}, data={"prefetch": 5}
    )
    assert len(claim(faster)) == len(PROMPTS)
    changed = make_config(
        tmp_path / "run", rollout={"group_size": 8}, video={"fps": 1.0}, reward={"mode": "paper"}
    )
    with pytest.raises(ConfigError) as error:
        claim(changed)
    assert [line for line in str(error.value).splitlines() if line.startswith("  - ")] == [
        "  - video.fps: 2.0 -> 1.0",
        "  - rollout.group_size: 4 -> 8",
        '  - reward.mode: "strict" -> "paper"',
    ]


def test_the_settings_of_a_grade_are_fields() -> None:
    assert set(all_fields()) >= GRADED_FIELDS
    assert set(sections()) >= GRADED_SECTIONS
    assert set(settings_of(make_config())) >= {"model.path", "rollout.temperature", "data.template"}


def test_progress_counts_what_was_graded_before(config: RunConfig) -> None:
    progress = FakeProgress()
    claim(config)
    grade(config, FakeSystem(), PROMPTS[3:], len(PROMPTS), progress)  # type: ignore[arg-type]
    assert progress.stages == [("grading", 7, 3)]
    assert progress.said[-1] == "7 done"


def test_only_what_could_be_graded_has_a_difficulty(tmp_path: Path) -> None:
    grades = [
        Grade(id="a", task="tracking", n=4, difficulty=0.25),
        Grade(id="b", task="tracking", n=0, problem="x"),
    ]
    append_grades(tmp_path / "g.jsonl", grades)
    assert read_difficulties(tmp_path / "g.jsonl") == {"a": 0.25}


def test_a_bin_holds_its_lower_edge_and_the_last_both() -> None:
    assert histogram([0.0, 0.1, 0.29, 0.3, 0.9, 1.0, 1.0]) == [1, 2, 1, 0, 0, 3]
    assert histogram(EDGES) == [1, 1, 1, 1, 1, 2]


def test_the_table_counts_by_task() -> None:
    grades = [
        Grade(id="a", task="tracking", n=4, mean=1.5, std=0.0, difficulty=0.5),
        Grade(id="b", task="tracking", n=0, problem="x"),
        Grade(id="c", task="multiple_choice", n=4, mean=1.0, std=0.4, difficulty=1.0),
    ]
    console = Terminal(file=StringIO(), width=120)
    console.print(grade_table(grades))
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    ]
    assert ["tracking", "2", "1", "1.50", "1", "0", "0", "0", "1", "0", "0"] in rows
    assert ["multiple_choice", "1", "0", "1.00", "0", "0", "0", "0", "0", "0", "1"] in rows


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    prompts = [*make_prompts(2), *make_prompts(1, Task.MULTIPLE_CHOICE, "c")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(p.to_json()) + "\n" for p in prompts))
    for prompt in prompts:
        (tmp_path / prompt.video).touch()
    path = tmp_path / "x.yaml"
    path.write_text(
        f"run: {{name: x, output_dir: {tmp_path}}}\nlearner: {{gpus_per_worker: 1}}\ndata:\n"
        "  grades: none.jsonl\n  difficulty: [0.1, 0.9]\n  datasets:\n"
        f"    - {{name: mine, format: jsonl, annotations: {tmp_path}/a.jsonl, difficulty: [0.2, 0.3]}}\n"
    )
    return path


def test_a_grading_has_a_folder_of_its_own_all_prompts_and_no_learner(recipe: Path, tmp_path: Path) -> None:
    from learner.tiny_policy import build_tiny_policy

    policy = build_tiny_policy(tmp_path / "policy")
    config = grading_config(recipe, ["rollout.group_size=6"], str(policy))
    assert config.run_dir == tmp_path / "x-grades"
    assert (config.data.grades, config.data.difficulty, config.data.datasets[0].difficulty) == (None,) * 3
    assert (config.learner.gpus_per_worker, config.learner.cpus_per_worker) == (0, 0)
    assert (config.model.path, config.rollout.group_size) == (str(policy), 6)


def test_what_is_held_out_need_not_be_there(recipe: Path, tmp_path: Path) -> None:
    from learner.tiny_policy import build_tiny_policy

    run = tmp_path / "run"
    build_tiny_policy(run / "policy")
    held_out = "data.eval_datasets=[{name: m, format: jsonl, annotations: '${NO_SUCH_PLACE}/a'}]"
    config = grading_config(recipe, [held_out], str(run))
    assert config.data.eval_datasets == ()
    # A run's folder stands for its policy.
    assert config.model.path == str(run / "policy")
    assert (
        grading_config(recipe, ["data.eval_source=/no/such.jsonl"], str(run)).data.eval_source == "synthetic"
    )


def test_the_command_tells_every_mistake_at_once(recipe: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["--config", str(recipe), "--checkpoint", "/no/such", "rollout.group_szie=2"],
    )
    assert done.exit_code == 2
    assert "rollout.group_szie = 2 (command line)" in done.output
    assert 'model.path = "/no/such" (command line): there is no such folder' in done.output


@pytest.mark.parametrize(
    ("name", "text"), [("settings.json", "[]"), ("settings.json", "{"), ("grades.jsonl", "{}\n")]
)
def test_damaged_grades_are_named(tmp_path: Path, name: str, text: str) -> None:
    config = make_config(tmp_path / "run")
    config.run_dir.mkdir()
    (config.run_dir / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{name} "):
        claim(config)
