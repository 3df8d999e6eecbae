"""The datasets of a configuration: read, named, filtered, capped and mixed; and what becomes of the rest is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.errors import ConfigError, RunFailure
from cluster.inputs.benchmarks import read_benchmarks
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.grades import Grade, append_grades, settings_of
from cluster.inputs.prompts import PromptSet, prepare_prompts, prepare_training
from cluster.planning.existence import missing_things
from cluster.records.kept_settings import write_settings
from data.schema import Task, VideoPrompt
from tests.cluster.fakes import FakeProgress, make_config, make_prompts

GROUNDING = make_prompts(20)
CHOICE = make_prompts(10, Task.MULTIPLE_CHOICE, "c")


def write(path: Path, prompts: Sequence[VideoPrompt], *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in [*(json.dumps(p.to_json()) for p in prompts), *lines]))
    return path


def entry(name: str, path: Path, **fields: Any) -> dict[str, Any]:
    return {"name": name, "format": "jsonl", "annotations": str(path), **fields}


def configured(folder: Path, **data: Any) -> RunConfig:
    named = {"run": {"name": "run", "output_dir": str(folder)}, "model": {"path": "owner/name"}}
    return RunConfig.model_validate_json(json.dumps(named | {"data": data}))


def prepared(config: RunConfig) -> tuple[PromptSet, FakeProgress]:
    progress = FakeProgress()
    files = ClipFiles(lambda what: nullcontext())
    prepare = prepare_prompts if config.data.eval_datasets else prepare_training
    return prepare(config, progress, files), progress  # type: ignore[arg-type]


def names(prompts: Sequence[VideoPrompt]) -> list[str]:
    return [prompt.id for prompt in prompts]


@pytest.fixture
def both(tmp_path: Path) -> list[dict[str, Any]]:
    return [
        entry("when", write(tmp_path / "a.jsonl", GROUNDING, "{")),
        # Ids are unique within a dataset only.
        entry("what", write(tmp_path / "b.jsonl", [replace(p, id=f"p{n}") for n, p in enumerate(CHOICE)])),
    ]


def test_a_dataset_is_a_pool_and_its_name_leads_the_ids(tmp_path: Path, both: list[dict[str, Any]]) -> None:
    prompts, progress = prepared(configured(tmp_path, datasets=both))
    assert [(pool.name, len(pool.prompts), pool.weight) for pool in prompts.mix] == [
        ("when", 20, 20),
        ("what", 10, 10),
    ]
    assert names(prompts.train) == [f"when/p{n}" for n in range(20)] + [f"what/p{n}" for n in range(10)]
    (warning,) = progress.warnings
    assert f"{tmp_path}/a.jsonl:21" in warning


def test_weights_are_taken_as_they_are(tmp_path: Path, both: list[dict[str, Any]]) -> None:
    weighted = [both[0] | {"weight": 0.2}, both[1] | {"weight": 3}]
    prompts, _ = prepared(configured(tmp_path, datasets=weighted))
    assert [pool.weight for pool in prompts.mix] == [0.2, 3]


def test_a_cap_is_a_seeded_choice_of_what_the_filters_leave(
    tmp_path: Path, both: list[dict[str, Any]]
) -> None:
    longer = [replace(p, duration=10.0 + n) for n, p in enumerate(GROUNDING)]
    write(tmp_path / "a.jsonl", longer)
    held = both[0] | {"cap": 5, "duration": [15, 27]}
    found, again = (names(prepared(configured(tmp_path, datasets=[held]))[0].train) for _ in range(2))
    assert found == again
    assert len(set(found)) == 5
    assert set(found) <= {f"when/p{n}" for n in range(5, 18)}
    all_of_it = configured(tmp_path, datasets=[held | {"cap": 13}])
    assert len(prepared(all_of_it)[0].train) == 13
    assert found != names(prepared(all_of_it)[0].train)[:5]


def test_tasks_of_no_weight_are_left_out(tmp_path: Path, both: list[dict[str, Any]]) -> None:
    config = configured(tmp_path, datasets=both, tasks={"temporal_grounding": 1, "multiple_choice": 0})
    with pytest.raises(RunFailure, match="dataset what: no usable prompt of temporal_grounding is left"):
        prepared(config)


def test_held_out_datasets_are_cut_per_task(tmp_path: Path, both: list[dict[str, Any]]) -> None:
    held_out = [entry("test", write(tmp_path / "h.jsonl", make_prompts(9, prefix="h")), cap=8)]
    config = configured(tmp_path, datasets=both, eval_datasets=held_out, eval_prompts_per_task=4)
    prompts, _ = prepared(config)
    assert len(prompts.held_out) == 4
    assert all(prompt.id.startswith("test/h") for prompt in prompts.held_out)


def test_what_is_held_out_is_spread_over_the_datasets_and_the_same_for_every_seed(tmp_path: Path) -> None:
    sizes = {"first": 200, "small": 3, "last": 100}
    held_out = [
        entry(name, write(tmp_path / f"{name}.jsonl", make_prompts(size)), cap=190)
        for name, size in sizes.items()
    ]
    both = [entry("train", write(tmp_path / "t.jsonl", make_prompts(3)))]
    config = configured(tmp_path, datasets=both, eval_datasets=held_out, eval_prompts_per_task=43)
    found = names(prepared(config)[0].held_out)
    assert [sum(one.startswith(f"{name}/") for one in found) for name in sizes] == [20, 3, 20]
    places = [int(one.partition("/p")[2]) for one in found if one.startswith("first/")]
    assert places == sorted(places) and max(places) > 100
    again = config.model_copy(update={"run": config.run.model_copy(update={"seed": 5})})
    assert names(prepared(again)[0].held_out) == found
    whole, other = (read_benchmarks(one, FakeProgress()) for one in (config, again))  # type: ignore[arg-type]
    assert whole == other and [len(one.prompts) for one in whole] == [190, 3, 100]


def grade_all(folder: Path, difficulties: dict[str, float], config: RunConfig) -> str:
    grades = [Grade(id=name, task="x", n=4, difficulty=value) for name, value in difficulties.items()]
    append_grades(folder / "grades.jsonl", grades)
    write_settings(folder, settings_of(config))
    return str(folder / "grades.jsonl")


def test_runs_dry_runs_and_evaluations_refuse_an_option_that_the_format_does_not_know(
    tmp_path: Path, both: list[dict[str, Any]]
) -> None:
    given = both[0] | {"options": {"foo": "bar"}}
    unknown = "cannot be read: when: jsonl has no option 'foo'; it takes none"
    trained, evaluated = configured(tmp_path, datasets=[given]), configured(tmp_path, eval_datasets=[given])
    with pytest.raises(RunFailure, match=unknown):
        prepared(trained)
    with pytest.raises(ConfigError, match=unknown):
        read_benchmarks(evaluated, FakeProgress())  # type: ignore[arg-type]
    for config in (trained, evaluated):
        assert unknown in [problem.message for problem in missing_things(config, only_look=True)]


def test_a_band_keeps_what_is_graded_within_and_counts_the_rest(
    tmp_path: Path, both: list[dict[str, Any]]
) -> None:
    difficulties = {f"when/p{n}": n / 20 for n in range(15)} | {f"what/p{n}": 0.5 for n in range(10)}
    path = grade_all(tmp_path, difficulties, configured(tmp_path))
    held = [both[0] | {"difficulty": [0.25, 0.5]}, both[1]]
    prompts, progress = prepared(configured(tmp_path, datasets=held, grades=path, difficulty=[0.5, 0.9]))
    assert names(prompts.train) == [f"when/p{n}" for n in range(5, 11)] + [f"what/p{n}" for n in range(10)]
    assert progress.said == [
        "when: 6 of 20 prompts have a difficulty of 0.25 to 0.5; 5 have no grade and are left out",
        "what: 10 of 10 prompts have a difficulty of 0.5 to 0.9; 0 have no grade and are left out",
    ]


def test_a_band_holds_for_one_file_and_for_rendered_clips_too(tmp_path: Path) -> None:
    path = grade_all(tmp_path, {f"p{n}": n / 20 for n in range(20)}, configured(tmp_path))
    source = str(write(tmp_path / "a.jsonl", GROUNDING))
    of_file = configured(
        tmp_path, source=source, grades=path, difficulty=[0, 0.1], tasks={"temporal_grounding": 1}
    )
    assert sorted(names(prepared(of_file)[0].train)) == ["p0", "p1", "p2"]
    with pytest.raises(RunFailure, match="synthetic: no prompt has a difficulty of 0 to 1"):
        (tmp_path / "run").mkdir()
        prepared(configured(tmp_path, num_prompts=4, grades=path, difficulty=[0, 1]))


def test_intervals_that_reach_beyond_the_listed_duration_are_used_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [replace(p, target={"interval": [3.0, 5.0]}) for p in GROUNDING])
    prompts, progress = prepared(configured(tmp_path, datasets=[entry("when", path)]))
    (warning,) = progress.warnings
    assert len(prompts.train) == 20 and warning.startswith(
        f"20 of when used as annotated, the first: {path}:1"
    )


def test_grades_of_other_settings_are_warned_of(tmp_path: Path, both: list[dict[str, Any]]) -> None:
    other = RunConfig.model_validate({"video": {"fps": 1.0}, "rollout": {"group_size": 4}})
    path = grade_all(tmp_path, {f"when/p{n}": 0.5 for n in range(20)}, other)
    config = configured(tmp_path, datasets=both[:1], grades=path, difficulty=[0, 1])
    _, progress = prepared(config)
    found = [warning for warning in progress.warnings if "graded under" in warning]
    assert [warning.rpartition("setting: ")[2] for warning in found] == [
        'model.path: "tiny" -> "owner/name"',
        "video.fps: 1.0 -> 2.0",
    ]


def problems(config: RunConfig) -> list[str]:
    found = missing_things(config, only_look=True)
    return [f"{' '.join(p.keys)}: {p.message}" for p in found if "model.path" not in p.keys]


def test_what_is_missing_of_a_dataset_is_found_before_anything_starts(
    tmp_path: Path, both: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "p0.mp4").touch()
    datasets = [
        both[0] | {"annotations": "${HERE}/a.jsonl", "videos": "$HERE/clips"},
        both[1],
        entry("gone", tmp_path / "none.jsonl"),
        entry("unset", Path("${NOWHERE}/a.jsonl")),
        entry("empty", write(tmp_path / "e.jsonl", [], "{")),
    ]
    found = problems(configured(tmp_path, datasets=datasets, grades="no.jsonl"))
    assert [line.partition(":")[0] for line in found] == [
        "data.datasets[1].videos data.datasets[1].annotations",
        "data.datasets[2].annotations",
        "data.datasets[3]",
        "data.datasets[4]",
        "data.grades",
    ]
    for line, part in zip(
        found,
        (
            "none of its first 10 clips is there",
            "No such file",
            "unset: not set in the environment: NOWHERE",
            "all 1 entries were skipped, the first",
            "`python -m cluster.grade` writes it",
        ),
        strict=True,
    ):
        assert part in line


def test_a_line_that_is_no_grade(tmp_path: Path) -> None:
    (tmp_path / "g.jsonl").write_text('{"id": 3}\n')
    (found,) = problems(configured(tmp_path, grades=str(tmp_path / "g.jsonl")))
    assert found.startswith("data.grades: holds a line that is no grade")


def test_the_settings_file_is_beside_the_grades(tmp_path: Path) -> None:
    write_settings(tmp_path, settings_of(make_config(rollout={"temperature": 0.5})))
    assert json.loads((tmp_path / "settings.json").read_text())["rollout.temperature"] == 0.5
