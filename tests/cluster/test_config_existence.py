"""What a configuration names and is not there is found before anything is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.config import RunConfig
from cluster.planning.existence import missing_things
from data.schema import Task, VideoPrompt, write_annotations


def problems(**sections: dict[str, Any]) -> list[str]:
    config = RunConfig.model_validate(sections, strict=False)
    return [f"{' '.join(p.keys)}: {p.message}" for p in missing_things(config)]


def grounding(number: int = 0, video: str = "clip.mp4") -> VideoPrompt:
    return VideoPrompt(
        id=f"p{number}",
        task=Task.TEMPORAL_GROUNDING,
        video=video,
        question="a door opens",
        target={"interval": [1.0, 2.0]},
        duration=8.0,
    )


# As `save_pretrained` of the pinned transformers names them.
SAVED_BESIDE_WEIGHTS = (
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"")
    write_annotations(tmp_path / "train.jsonl", [grounding()])
    return tmp_path / "train.jsonl"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    for name in ("model.safetensors", *SAVED_BESIDE_WEIGHTS):
        (folder / name).write_bytes(b"")
    return folder


ONLY_GROUNDING = {"tasks": {"temporal_grounding": 1.0}}


def test_the_defaults_name_nothing_that_is_missing() -> None:
    assert problems() == []


def test_a_whole_checkpoint_and_dataset(checkpoint: Path, dataset: Path) -> None:
    assert problems(model={"path": str(checkpoint)}, data={"source": str(dataset), **ONLY_GROUNDING}) == []


@pytest.mark.parametrize("path", ["/no/such/folder", "./policy", "policy", "a/b/c", "own er/name"])
def test_a_model_that_is_neither_folder_nor_hub_id(path: str) -> None:
    (found,) = problems(model={"path": path})
    assert found.startswith("model.path: there is no such folder")


def test_a_hub_id_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (found,) = problems(model={"path": "nobody/no-such-model"})
    assert found.startswith("model.path: neither a local folder nor downloaded before")
    assert "offline mode" in found


def test_a_hub_id_is_not_asked_for_in_a_dry_run() -> None:
    config = RunConfig.model_validate({"model": {"path": "nobody/no-such-model"}})
    (found,) = missing_things(config, only_look=True)
    assert "not on this machine yet" in found.message


def test_a_checkpoint_without_its_parts(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    assert problems(model={"path": str(checkpoint)}) == [
        "model.path: the folder holds no weights (*.safetensors)"
    ]
    (checkpoint / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert "model_type 'llama'" in problems(model={"path": str(checkpoint)})[0]
    (checkpoint / "config.json").write_text("{")
    assert "config.json is not JSON" in problems(model={"path": str(checkpoint)})[0]
    (checkpoint / "config.json").unlink()
    assert "holds no config.json" in problems(model={"path": str(checkpoint)})[0]


@pytest.mark.parametrize("name", SAVED_BESIDE_WEIGHTS)
def test_a_checkpoint_of_weights_alone(checkpoint: Path, name: str) -> None:
    """Found late it would be a traceback from inside vLLM, or a tokenizer that does not know its own tokens."""
    (checkpoint / name).unlink()
    (found,) = problems(model={"path": str(checkpoint)})
    assert found.startswith("model.path: the folder holds no ")
    assert name in found


def test_a_checkpoint_with_the_file_names_of_the_hub(checkpoint: Path) -> None:
    for ours, hubs in (
        ("processor_config.json", "preprocessor_config.json"),
        ("tokenizer.json", "vocab.json"),
        ("chat_template.jinja", "chat_template.json"),
    ):
        (checkpoint / ours).rename(checkpoint / hubs)
    assert problems(model={"path": str(checkpoint)}) == []


def test_the_policy_that_the_demo_builds_is_a_whole_checkpoint(tmp_path: Path) -> None:
    from learner.tiny_policy import build_tiny_policy

    assert problems(model={"path": str(build_tiny_policy(tmp_path / "tiny"))}) == []


def test_sequences_longer_than_the_model_is_made_for() -> None:
    (found,) = problems(rollout={"max_prompt_tokens": 4000})
    assert "4512 tokens together; the model's positions end at 4096" in found


def test_an_annotation_file_that_is_not_there(tmp_path: Path) -> None:
    found = problems(data={"source": str(tmp_path / "a.jsonl"), "eval_source": str(tmp_path)})
    assert found == [
        f"data.source: cannot be read: {tmp_path / 'a.jsonl'}: No such file or directory",
        f"data.eval_source: cannot be read: {tmp_path}: is a folder, where a file is wanted",
    ]


def test_an_empty_dataset(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    assert problems(data={"source": str(empty)}) == ["data.source: the dataset is empty"]
    empty.write_text('{"id": 1}\nnonsense\n')
    (found,) = problems(data={"source": str(empty)})
    assert "all 2 entries were skipped, the first: " in found
    assert f"{empty}:1: missing task" in found


@pytest.mark.parametrize(
    "line", ['{"duration": 1' + "0" * 400 + "}", "[" * 100_000, '{"options": null}', '{"box_frames": ["x"]}']
)
def test_a_line_that_breaks_a_reader_is_a_skipped_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.jsonl"
    write_annotations(path, [grounding()])
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | json.loads(line)) if line.startswith("{") else line)
    (found,) = problems(data={"source": str(path)})
    assert "all 1 entries were skipped, the first: " in found


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    assert "save the file as UTF-8" in problems(data={"source": str(tmp_path / "a.jsonl")})[0]


def test_a_task_that_no_prompt_has(dataset: Path) -> None:
    tasks = {"temporal_grounding": 1.0, "tracking": 1.0, "grounded_qa": 0.0}
    (found,) = problems(data={"source": str(dataset), "tasks": tasks})
    assert found == "data.source data.tasks: the file has no prompt of tracking; give them weight 0"


def test_clips_that_are_elsewhere(dataset: Path) -> None:
    write_annotations(dataset, [grounding(n, f"lost-{n}.mp4") for n in range(3)])
    (found,) = problems(data={"source": str(dataset), **ONLY_GROUNDING})
    assert (
        found
        == f"data.source: none of its first 3 clips is there; the first is {dataset.parent / 'lost-0.mp4'}"
    )


def test_a_clip_is_looked_for_as_a_run_looks_for_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a name without its extension, and in a file that an environment variable leads to."""
    write_annotations(dataset, [grounding(0, "clip")])
    assert problems(data={"source": str(dataset), **ONLY_GROUNDING}) == []
    monkeypatch.setenv("CLIPS", str(tmp_path))
    assert problems(data={"source": "${CLIPS}/train.jsonl", **ONLY_GROUNDING}) == []
    monkeypatch.delenv("CLIPS")
    (found,) = problems(data={"source": "${CLIPS}/train.jsonl", **ONLY_GROUNDING})
    assert found == "data.source: cannot be read: ${CLIPS}/train.jsonl: not set in the environment: CLIPS"


def test_a_clip_whose_name_no_file_can_have(dataset: Path) -> None:
    write_annotations(dataset, [grounding(0, "x" * 5000)])
    (found,) = problems(data={"source": str(dataset), **ONLY_GROUNDING})
    assert "none of its first 1 clips is there" in found


def test_one_clip_that_is_there_is_enough(dataset: Path) -> None:
    write_annotations(dataset, [grounding(0, "lost.mp4"), grounding(1)])
    assert problems(data={"source": str(dataset), **ONLY_GROUNDING}) == []


@pytest.mark.parametrize("path", ["no.such.module.reward", "os.path.nothing", "os.sep", "reward"])
def test_a_custom_reward_that_cannot_be_called(path: str) -> None:
    (found,) = problems(reward={"custom": {"tracking": path}})
    assert found.startswith("reward.custom: reward.custom.tracking: ")
    assert path in found


def test_a_key_of_the_judge_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = {"base_url": "http://host/v1", "model": "m", "api_key_variable": "JUDGE_KEY"}
    monkeypatch.setenv("JUDGE_KEY", "")
    (found,) = problems(judge=judge)
    assert found.startswith("judge.api_key_variable: no such environment variable")
    assert problems(judge={"api_key_variable": "JUDGE_KEY"}) == [], "no server, no key"
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    assert problems(judge=judge) == []


@pytest.mark.parametrize("key", ["s3 cret", "s3cret\nsecond", "s3cr\u00e9t"])
def test_a_key_of_the_judge_that_cannot_be_sent_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    judge = {"base_url": "http://host/v1", "model": "m", "api_key_variable": "JUDGE_KEY"}
    monkeypatch.setenv("JUDGE_KEY", key)
    (found,) = problems(judge=judge)
    assert found.startswith(
        "judge.api_key_variable: what the environment variable holds cannot be sent: it holds white"
    )
    assert "s3" not in found
    monkeypatch.setenv("JUDGE_KEY", f" {key.split()[0][:2]}cret\n")
    assert problems(judge=judge) == []


def test_everything_missing_is_found_at_once() -> None:
    found = problems(
        model={"path": "/no/such"},
        data={"source": "no.jsonl", "eval_source": "none.jsonl"},
        reward={"custom": {"tracking": "no.reward", "grounded_qa": "os.path.join"}},
    )
    assert [line.split(":")[0] for line in found] == [
        "model.path",
        "data.source",
        "data.eval_source",
        "reward.custom",
    ]
