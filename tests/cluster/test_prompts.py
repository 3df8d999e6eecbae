"""Where the prompts come from."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.errors import RunFailure
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.prompts import contract_of, prepare_prompts
from data.schema import Task, VideoPrompt
from tests.cluster.fakes import FakeProgress, make_config, make_prompts


def synthetic(folder: Path, seed: int = 0) -> tuple[list[VideoPrompt], list[VideoPrompt], list[str]]:
    config = make_config(
        folder / f"run{seed}",
        run={"seed": seed},
        data={
            "num_prompts": 4,
            "eval_prompts_per_task": 1,
            "tasks": {Task.TRACKING: 3.0, Task.MULTIPLE_CHOICE: 1.0},
        },
    )
    config.run_dir.mkdir(parents=True)
    with ClipFiles(lambda what: nullcontext()) as files:
        prompts = prepare_prompts(config, FakeProgress(), files)  # type: ignore[arg-type]
        files.require(prompt.video for prompt in (*prompts.train, *prompts.held_out))
    return prompts.train, prompts.held_out, list(prompts.scenes)


def test_synthetic_prompts_follow_the_weights_and_never_meet_the_held_out_ones(tmp_path: Path) -> None:
    train, held_out, scenes = synthetic(tmp_path)
    assert [prompt.task for prompt in train] == [Task.TRACKING] * 3 + [Task.MULTIPLE_CHOICE]
    assert [prompt.task for prompt in held_out] == [Task.TRACKING, Task.MULTIPLE_CHOICE]
    assert scenes == [prompt.id for prompt in train]
    assert all(Path(prompt.video).stat().st_size for prompt in (*train, *held_out))
    assert not {p.id for p in train} & {p.id for p in held_out}
    assert not {p.video for p in train} & {p.video for p in held_out}
    other, same_held_out, _ = synthetic(tmp_path, seed=1)
    assert not {p.id for p in train} & {p.id for p in other}
    assert same_held_out == held_out


def write(path: Path, *prompts: VideoPrompt | str) -> Path:
    lines = [p if isinstance(p, str) else json.dumps(p.to_json()) for p in prompts]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def from_files(
    folder: Path, source: Path, held_out: Path, **data: object
) -> tuple[list[str], list[str], FakeProgress]:
    config = make_config(folder / "run", data={"source": str(source), "eval_source": str(held_out), **data})
    progress = FakeProgress()
    files = ClipFiles(lambda what: nullcontext())
    prompts = prepare_prompts(config, progress, files)  # type: ignore[arg-type]
    return [p.id for p in prompts.train], [p.id for p in prompts.held_out], progress


def test_annotation_files_give_their_usable_lines_of_the_wanted_tasks(tmp_path: Path) -> None:
    choice = make_prompts(2, Task.MULTIPLE_CHOICE, "c")
    source = write(tmp_path / "a.jsonl", *make_prompts(4), "{", *choice)
    held_out = write(tmp_path / "b.jsonl", *make_prompts(5, prefix="h"))
    train, held, progress = from_files(
        tmp_path,
        source,
        held_out,
        tasks={Task.TEMPORAL_GROUNDING: 1.0, Task.MULTIPLE_CHOICE: 0.0},
        num_prompts=None,
        eval_prompts_per_task=3,
    )
    assert sorted(train) == ["p0", "p1", "p2", "p3"]
    assert len(held) == 3 and held == sorted(held) and set(held) <= {f"h{n}" for n in range(5)}
    (warning,) = progress.warnings
    assert f"{source}:5" in warning


def test_intervals_that_reach_beyond_the_listed_duration_are_used_and_counted(tmp_path: Path) -> None:
    beyond = [replace(prompt, target={"interval": [3.0, 5.0]}) for prompt in make_prompts(2)]
    source = write(tmp_path / "a.jsonl", *beyond)
    held_out = write(tmp_path / "b.jsonl", *make_prompts(1, prefix="h"))
    train, _, progress = from_files(tmp_path, source, held_out, tasks={Task.TEMPORAL_GROUNDING: 1.0})
    assert sorted(train) == ["p0", "p1"]
    reaches = "interval [3.0, 5.0] reaches beyond the listed duration of 4.0 s"
    assert progress.warnings == [f"2 of {source} used as annotated, the first: {source}:1: {reaches}"]


def test_fewer_prompts_than_the_file_has_are_a_sample_of_it(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *make_prompts(50))
    held_out = write(tmp_path / "b.jsonl", *make_prompts(1, prefix="h"))
    train, _, _ = from_files(tmp_path, source, held_out, num_prompts=10)
    assert len(set(train)) == 10
    assert sorted(train) != sorted(f"p{n}" for n in range(10))


def test_a_file_without_a_usable_prompt_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *make_prompts(1))
    with pytest.raises(RunFailure, match=r"a\.jsonl: no usable prompt of tracking is left"):
        from_files(tmp_path, source, source, tasks={Task.TRACKING: 1.0})


def test_the_contract_is_the_video_section() -> None:
    contract = contract_of(make_config(video={"fps": 3.0, "max_frames": 10, "max_pixels": 20000}))
    assert (contract.fps, contract.max_frames, contract.max_pixels) == (3.0, 10, 20000)
