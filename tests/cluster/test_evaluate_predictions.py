"""Predictions from elsewhere through the command: full denominators, everything listed, and no torch, Ray or vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cluster.config.loading import load_config
from cluster.errors import ConfigError
from cluster.evaluate import app
from cluster.evaluation.records import EvaluationResults, read_results
from cluster.evaluation.tables import remarks
from cluster.inputs.benchmarks import for_evaluation
from data.readers import DatasetSpec, read_dataset
from data.schema import Task, VideoPrompt
from tests.actors.judge_server import JudgeServer, garbage, serving, status
from tests.cluster.fakes import make_config
from tests.e2e.launching import records

ROOT = Path(__file__).parents[2]
DATA = ROOT / "../shared/data"
SPANS = {"a": (1.0, 3.0), "b": (2.0, 4.0), "c": (0.0, 5.0), "d": (6.0, 9.0)}


def write_lines(path: Path, lines: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def grounding(name: str) -> dict[str, Any]:
    fields = {"id": name, "task": "temporal_grounding", "video": f"{name}.mp4", "question": "it falls"}
    return fields | {"duration": 10, "target": {"interval": list(SPANS[name])}}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_lines(tmp_path / "mine.jsonl", [*map(grounding, SPANS), {"id": "bad"}])
    path = tmp_path / "x.yaml"
    path.write_text(
        f"run: {{name: x, output_dir: {tmp_path}/runs}}\n"
        f"data: {{eval_datasets: [{{name: mine, format: jsonl, annotations: {tmp_path}/mine.jsonl}}]}}\n"
    )
    return path


def evaluate(recipe: Path, lines: Iterable[Any], *arguments: str) -> Result:
    path = write_lines(recipe.with_name("predictions.jsonl"), lines)
    return CliRunner().invoke(app, ["--config", str(recipe), "--predictions", str(path), *arguments])


def results_of(recipe: Path, name: str = "x") -> EvaluationResults:
    return read_results(recipe.parent / "runs" / f"{name}-evaluation")


def figures(results: EvaluationResults, dataset: str) -> dict[str, str]:
    (table,) = [table for table in results.tasks if table.dataset == dataset]
    return {figure.name: f"{figure.value.mean:.2f}" for figure in table.figures}


def test_every_prompt_counts_and_every_line_is_accounted_for(recipe: Path) -> None:
    done = evaluate(
        recipe,
        [
            {"id": "a", "response": "<think>-</think><answer>1 to 3</answer>"},
            {"id": "mine/b", "answer": "2 to 3"},
            {"id": "c", "response": None},
            {"id": "zebra", "response": "<answer>1 to 2</answer>"},
            {"id": "a", "response": "<answer>9 to 10</answer>"},
            ["no object"],
        ],
    )
    assert done.exit_code == 0, done.output
    results = results_of(recipe)
    (table,) = results.tasks
    assert table.samples == 4
    assert figures(results, "mine") == {"mIoU": "37.50", "R@0.3": "50.00", "R@0.5": "50.00", "R@0.7": "25.00"}
    assert {(one.kind, one.reason, one.first) for one in table.failures} == {
        ("unanswered", "no prediction has this id", "mine/d"),
        (
            "unanswered",
            "its prediction has neither a response nor an answer without tags, or one that is not text",
            "mine/c",
        ),
    }
    assert len(results.skipped["mine"]) == 1
    # 4 usable entries with 37.5 and one that nothing can be scored against.
    assert "mIoU is 30.00 over all 5 entries, the unusable ones counted as 0." in " ".join(remarks(results))
    unknown, unused = results.notes
    assert unknown == "1 predictions have an id that no prompt has: 'zebra'"
    assert "predictions.jsonl:5: id 'a' was used on an earlier line" in unused
    assert "predictions.jsonl:6: expected a JSON object" in unused
    for part in ("zebra", "no prediction has this id", "37.50", "0% to", "the trivial one: whole video"):
        assert part in done.output
        assert part in (recipe.parent / "runs/x-evaluation/results.md").read_text()
        assert part in (recipe.parent / "runs/x-evaluation/report.html").read_text()


def test_a_line_per_sample_says_what_came_of_it(recipe: Path) -> None:
    evaluate(recipe, [{"id": "a", "answer": "1 to 3"}, {"id": "b", "response": "when it falls"}])
    lines = {line["id"]: line for line in records(recipe.parent / "runs/x-evaluation/samples.jsonl")}
    assert list(lines) == [f"mine/{name}" for name in SPANS]
    right, unread, missing = (lines[f"mine/{name}"] for name in "abc")
    assert (right["dataset"], right["task"], right["asked"]) == ("mine", "temporal_grounding", None)
    assert right["response"] == "<answer>1 to 3</answer>"
    assert right["score"]["prediction"] == {"interval": [1.0, 3.0]}
    assert right["score"]["rewards"]["iou"] == 1.0
    assert unread["score"]["rewards"]["iou"] == 0
    assert "no <answer> block" in unread["reason"]
    assert (missing["score"], missing["reason"]) == (None, "no prediction has this id")


def test_a_json_list_is_read_and_told_once(recipe: Path) -> None:
    path = recipe.with_name("predictions.json")
    path.write_text(
        json.dumps([{"id": "a", "answer": "1 to 3"}, {"id": "a", "answer": "2 to 3"}, [5]], indent=1)
    )
    done = CliRunner().invoke(app, ["--config", str(recipe), "--predictions", str(path)])
    assert done.exit_code == 0, done.output
    assert (
        done.stderr == f"{path} is a JSON list rather than JSON Lines; its items are read, numbered from 1\n"
    )
    (unused,) = results_of(recipe).notes
    assert f"{path}: item 2: id 'a' was used on an earlier item" in unused
    assert f"{path}: item 3: expected a JSON object" in unused
    assert figures(results_of(recipe), "mine")["mIoU"] == "25.00"


def test_an_answer_without_tags_is_well_formed(recipe: Path) -> None:
    """The thinking template asks a response to think first; nobody asked that of a bare answer."""
    evaluate(recipe, [{"id": "a", "answer": "1 to 3"}, {"id": "b", "response": "<answer>2 to 4</answer>"}])
    lines = {line["id"]: line for line in records(recipe.parent / "runs/x-evaluation/samples.jsonl")}
    assert lines["mine/a"]["score"]["rewards"] == {"format": 1.0, "iou": 1.0}
    assert lines["mine/b"]["score"]["rewards"] == {"format": 0.0, "iou": 1.0}


def test_a_table_exported_with_nulls_and_numbers_is_read(recipe: Path) -> None:
    write_lines(
        recipe.with_name("mine.jsonl"),
        [
            {
                "id": name,
                "task": "numerical",
                "video": "a.mp4",
                "question": "how many?",
                "target": {"number": 5},
            }
            for name in "abcd"
        ],
    )
    lines: list[Any] = [
        {"id": "a", "answer": 5, "glue": None, "response": None},
        {"id": "b", "answer": "5", "glue": None},
        {"id": "c", "answer": "5", "response": "<answer>6</answer>"},
        {"id": "d", "answer": True},
    ]
    evaluate(recipe, lines)
    found = {line["id"]: line for line in records(recipe.parent / "runs/x-evaluation/samples.jsonl")}
    assert [found[f"mine/{name}"]["score"] is not None for name in "abcd"] == [True, True, False, False]
    assert found["mine/a"]["score"]["rewards"]["accuracy"] == 1.0
    assert "which of them counts?" in found["mine/c"]["reason"]
    assert results_of(recipe).settings["data.template"] == "direct"


def test_scores_under_other_settings_are_replaced_and_that_is_told(recipe: Path) -> None:
    lines = [{"id": "a", "response": "<think>-</think><answer>1 to 3</answer>"}]
    evaluate(recipe, lines)
    assert not any("takes the place" in note for note in results_of(recipe).notes)
    evaluate(recipe, lines, "reward.mode=paper")
    (told,) = (note for note in results_of(recipe).notes if "takes the place" in note)
    assert 'reward.mode: "strict" -> "paper"' in told


@pytest.mark.parametrize(
    ("lines", "said"), [([], "it is empty"), ([{"id": "zebra", "answer": "1 to 2"}], "'zebra'")]
)
def test_a_file_for_none_of_the_prompts_is_refused(recipe: Path, lines: list[Any], said: str) -> None:
    done = evaluate(recipe, lines)
    assert done.exit_code == 2
    assert "has no prediction for any of the prompts" in done.output and said in done.output
    assert not (recipe.parent / "runs").exists()


def test_predictions_and_a_checkpoint_exclude_each_other(recipe: Path) -> None:
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}], "--checkpoint", "runs/x/final")
    assert done.exit_code == 2
    assert "exclude each other" in done.output


def test_predictions_are_scored_anew_and_do_not_overwrite_others(recipe: Path) -> None:
    evaluate(recipe, [{"id": "a", "answer": "8 to 9"}])
    assert figures(results_of(recipe), "mine")["mIoU"] == "0.00"
    assert evaluate(recipe, [{"id": "a", "answer": "1 to 3"}]).exit_code == 0
    assert figures(results_of(recipe), "mine")["mIoU"] == "25.00"
    other = write_lines(recipe.with_name("other.jsonl"), [{"id": "a", "answer": "8 to 9"}])
    refused = CliRunner().invoke(app, ["--config", str(recipe), "--predictions", str(other)])
    assert refused.exit_code == 2
    assert "answers.predictions" in refused.output
    assert "another run.name" in refused.output
    assert figures(results_of(recipe), "mine")["mIoU"] == "25.00"


def test_an_id_of_two_datasets_needs_the_name_of_one(recipe: Path) -> None:
    entry = f"{{name: again, format: jsonl, annotations: {recipe.parent}/mine.jsonl, cap: 2}}"
    first = f"{{name: mine, format: jsonl, annotations: {recipe.parent}/mine.jsonl, cap: 2}}"
    lines = [{"id": name, "answer": "1 to 3"} for name in ("a", "b", "c", "d")]
    lines += [{"id": f"{name}/{of}", "answer": "0 to 10"} for name in ("mine", "again") for of in SPANS]
    evaluate(recipe, lines, f"data.eval_datasets=[{first}, {entry}]")
    results = results_of(recipe)
    assert [table.samples for table in results.tasks] == [2, 2]
    # Of a capped dataset it is not known how many of its unusable entries a larger cap would have met.
    assert [table.unusable for table in results.tasks] == [0, 0]
    assert not any(table.failures for table in results.tasks)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.eval_datasets=[]", "no dataset to evaluate on"),
        (
            "data.eval_datasets=[{name: m, format: jsonl, annotations: /no/such.jsonl}]",
            "dataset m cannot be read",
        ),
        (
            "data.eval_datasets=[{name: m, format: jsonl, annotations: '${NO_SUCH_PLACE}/a'}]",
            "dataset m cannot be read: m: not set in the environment: NO_SUCH_PLACE",
        ),
        ("data.eval_datasts=[]", "did you mean"),
    ],
)
def test_what_cannot_be_evaluated_is_told(recipe: Path, override: str, message: str) -> None:
    done = evaluate(recipe, [], override)
    assert done.exit_code == 2
    assert message in done.output


def test_a_missing_file_of_predictions_is_told(recipe: Path) -> None:
    done = CliRunner().invoke(app, ["--config", str(recipe), "--predictions", "/no/such.jsonl"])
    assert done.exit_code == 2
    assert "--predictions /no/such.jsonl cannot be read" in done.output


def test_a_file_as_source_is_a_dataset_whole(recipe: Path, tmp_path: Path) -> None:
    config = make_config(
        tmp_path / "y",
        data={
            "eval_source": str(tmp_path / "mine.jsonl"),
            "eval_prompts_per_task": 1,
            "tasks": {Task.TRACKING: 1.0},
        },
        reward={
            "options": {Task.TEMPORAL_GROUNDING: {"boundary_penalty": True, "length_bonus": 0.2}},
            "weights": {Task.TRACKING: {"iou": 2.0}},
        },
    )
    changed = for_evaluation(config)
    (entry,) = changed.data.eval_datasets
    assert (entry.name, entry.format, changed.data.eval_source) == ("mine", "jsonl", "synthetic")
    assert changed.data.tasks.keys() > {"temporal_grounding", "captioning"}
    assert (changed.reward.options, changed.reward.weights) == ({"temporal_grounding": {}}, {})
    assert changed.run_dir == tmp_path / "y-evaluation"


def test_neither_torch_nor_ray_nor_vllm_is_imported(recipe: Path) -> None:
    path = write_lines(recipe.with_name("predictions.jsonl"), [{"id": "a", "answer": "1 to 3"}])
    program = (
        "import sys; from cluster.evaluate import app\n"
        f"try: app(['--config', {str(recipe)!r}, '--predictions', {str(path)!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('imported', *sorted({'torch', 'ray', 'vllm', 'transformers', 'deepspeed'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported"


def whole_clip(prompt: VideoPrompt) -> dict[str, str]:
    return {"answer": f"0 to {prompt.duration}"}


def whole_clip_as_evidence(prompt: VideoPrompt) -> dict[str, str]:
    return {"answer": "A", "glue": f"[(0, {prompt.duration})]"}


def first_box(prompt: VideoPrompt) -> dict[str, str]:
    return {"answer": str([prompt.first_box] * 8)}


def described(name: str, caption: str) -> dict[str, Any]:
    fields = {"id": name, "task": "captioning", "video": f"{name}.mp4", "question": "what happens?"}
    return fields | {"target": {"caption": caption, "events": [caption]}}


@pytest.fixture
def captions(recipe: Path) -> Path:
    lines = [described("a", "a cat jumps"), described("b", "cats are jumping")]
    write_lines(recipe.with_name("mine.jsonl"), lines)
    return recipe


def asking(server: JudgeServer, **fields: str) -> list[str]:
    fields = {"base_url": server.url, "model": "m", **fields}
    return ["reward.timeout_s=600", *(f"judge.{name}={value}" for name, value in fields.items())]


def test_the_judge_of_the_answers_judges_the_constant_one_too(captions: Path) -> None:
    lines = [{"id": "a", "answer": "a cat jumps"}, {"id": "b", "answer": "a cat jumps"}]
    with serving() as server:
        done = evaluate(captions, lines, *asking(server))
    assert done.exit_code == 0, done.output
    results = results_of(captions)
    figure, *_ = results.tasks[0].figures
    # To the lexical judge both sentences are the same, to this one they are not.
    assert (figure.value.mean, figure.constant, figure.above.mean) == (50.0, 50.0, 0.0)
    assert (results.tasks[0].constant_answer, results.notes) == ("always 'a cat jumps'", [])
    evaluate(captions, lines, "run.name=lexical")
    assert results_of(captions, "lexical").tasks[0].figures[0].constant == 100.0


def test_what_the_judge_could_not_judge_is_told(captions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.judge_endpoint.BACK_OFF", lambda state: 0.0)
    lines = [{"id": "a", "answer": "a dog barks"}, {"id": "b", "answer": "a dog sleeps"}]
    with serving() as server:
        server.always = status(400)
        refused = evaluate(captions, lines, *asking(server))
        assert (refused.exit_code, "cannot be used: HTTP 400" in refused.output) == (1, True)
        assert evaluate(captions, lines, *asking(server, fallback="lexical"), "run.name=y").exit_code == 0
        server.always = garbage
        evaluate(captions, lines, *asking(server), "run.name=z")
    # Two about each of two: which events it tells of, and which of its clauses the reference tells of. The constant
    # answer is one of the references, about which there is nothing new to ask.
    counts = (("answers", 4), ("constant answers", 3))
    fallback, unreadable = (results_of(captions, name).notes for name in "yz")
    for (of, count), note in zip(counts, fallback, strict=True):
        assert note.startswith(f"{count} questions about {of} went to the lexical judge")
    for (of, count), note in zip(counts, unreadable, strict=True):
        assert note.startswith(f"{count} questions about {of} got no readable verdict")


@pytest.mark.parametrize(
    "override",
    [
        "rollout.group_size=1",
        "grpo.updates_per_step=50",
        "learner.micro_batch_tokens=10",
        "data.template=direct",
    ],
)
def test_keys_that_an_evaluation_has_no_use_for_are_no_mistake(recipe: Path, override: str) -> None:
    with pytest.raises(ConfigError):
        load_config(recipe, [override])
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}], override)
    assert done.exit_code == 0, done.output


def test_what_is_wrong_for_an_evaluation_too_is_a_mistake(recipe: Path) -> None:
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}], "video.min_frames=10", "video.max_frames=8")
    assert done.exit_code == 2
    assert "the fewest frames are more than the most" in done.output


def test_the_size_of_gpus_is_for_a_plan(recipe: Path) -> None:
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}], "--gpu-gib", "16")
    assert done.exit_code != 0
    assert "--dry-run" in done.output


def test_what_only_training_minds_is_no_mistake(recipe: Path) -> None:
    mine = recipe.with_name("mine.jsonl")
    local = Path(__file__).parents[2] / "configs" / "local.yaml"
    entry = f"{{name: mine, format: jsonl, annotations: {mine}}}"
    recipe.write_text(
        f"extends: {local}\nrun: {{name: x, output_dir: {recipe.parent}/runs}}\n"
        f"data: {{datasets: [{entry}], eval_datasets: [{entry}]}}\n"
    )
    with pytest.raises(ConfigError, match="annotations hold answers and no think part"):
        load_config(recipe)
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}])
    assert done.exit_code == 0, done.output


def test_parts_of_a_dataset_are_told_apart(recipe: Path) -> None:
    parts = {"a": "short", "b": "long", "c": "short", "d": "long"}
    lines = [grounding(name) | {"part": part} for name, part in parts.items()]
    write_lines(recipe.with_name("mine.jsonl"), lines)
    done = evaluate(recipe, [{"id": "a", "answer": "1 to 3"}, {"id": "d", "answer": "6 to 7.5"}])
    assert done.exit_code == 0, done.output
    (table,) = results_of(recipe).tasks
    told = [(one.part, one.samples, one.figure.name, one.figure.value.mean) for one in table.parts]
    assert told == [("short", 2, "mIoU", 50.0), ("long", 2, "mIoU", 25.0)]
    for part in ("mIoU, short", "mIoU, long"):
        assert part in done.output
        assert part in (recipe.parent / "runs/x-evaluation/results.md").read_text()
        assert part in (recipe.parent / "runs/x-evaluation/report.html").read_text()


PUBLISHED = {
    "charades": ("activitynet_captions", "charades_sta/test.json", whole_clip),
    "nextgqa": ("nextgqa_json", "nextgqa/nextgqa_test.json", whole_clip_as_evidence),
    "got10k": ("got10k_json", "got10k/got_val.json", first_box),
}


@pytest.mark.skipif(not DATA.exists(), reason=f"no annotation files in {DATA}")
def test_constant_answers_to_the_published_files_have_the_known_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLISHED", str(DATA.resolve()))
    entries, lines = [], []
    for name, (format_, file, answer) in PUBLISHED.items():
        entries.append(f"{{name: {name}, format: {format_}, annotations: '${{PUBLISHED}}/{file}'}}")
        prompts, _ = read_dataset(DatasetSpec(name, format_, DATA / file))
        lines += [{"id": prompt.id, **answer(prompt)} for prompt in prompts]
    recipe = tmp_path / "x.yaml"
    recipe.write_text(
        f"run: {{name: x, output_dir: {tmp_path}/runs}}\ndata: {{eval_datasets: [{', '.join(entries)}]}}\n"
    )
    done = evaluate(recipe, lines)
    assert done.exit_code == 0, done.output
    results = results_of(recipe)
    assert [(table.dataset, table.samples) for table in results.tasks] == [
        ("charades", 3720),
        ("nextgqa", 5553),
        ("got10k", 180),
    ]
    assert not any(table.failures for table in results.tasks)
    charades, nextgqa, got10k = (figures(results, name) for name in PUBLISHED)
    assert charades == {"mIoU": "26.99", "R@0.3": "34.30", "R@0.5": "0.43", "R@0.7": "0.00"}
    assert {name: nextgqa[name] for name in ("mIoU", "R@0.3", "R@0.5", "R@0.7")} == {
        "mIoU": "22.65",
        "R@0.3": "23.59",
        "R@0.5": "10.21",
        "R@0.7": "4.79",
    }
    assert (got10k["AO with first"], got10k["AO"]) == ("42.35", "34.12")
    constants = {figure.name: f"{figure.constant:.2f}" for figure in results.tasks[0].figures}
    assert constants == {"mIoU": "30.55", "R@0.3": "48.79", "R@0.5": "27.69", "R@0.7": "11.85"}
    assert results.tasks[0].constant_answer == "0% to 45% of the clip"
    whole = {figure.name: figure.trivial["whole video"] for figure in results.tasks[0].figures}
    assert {name: f"{value:.2f}" for name, value in whole.items()} == charades
    blind = {figure.name: figure.trivial["chance, whole video"] for figure in results.tasks[1].figures}
    assert {name: f"{blind[name]:.2f}" for name in ("accuracy", "mIoU", "R@0.5")} == {
        "accuracy": "20.00",
        "mIoU": "22.65",
        "R@0.5": "10.21",
    }
    assert all(figure.trivial == {} for figure in results.tasks[2].figures)
    assert results.tasks[0].figures[0].above.high < 0


def test_answers_to_pictures_that_start_late_are_scored_anew_as_they_were(recipe: Path) -> None:
    text = "<think>-</think><answer>1 to 4</answer>"
    lines = [
        {"id": "d", "response": text, "starts_at": 5.0},
        {"id": "a", "answer": "0.5 to 2.5", "starts_at": 0.5},
        {"id": "b", "response": text, "starts_at": -1},
    ]
    for _ in range(2):
        evaluate(recipe, lines)
        samples = {one["id"]: one for one in records(recipe.parent / "runs/x-evaluation/samples.jsonl")}
        late, bare, bad = (samples[f"mine/{name}"] for name in "dab")
        assert late["score"]["rewards"]["iou"] == bare["score"]["rewards"]["iou"] == 1.0
        assert late["score"]["prediction"] == {"interval": [6.0, 9.0]} and late["starts_at"] == 5.0
        assert "starts_at must be 0 or more seconds" in bad["problem"]
        # What an evaluation leaves can be scored anew.
        lines = [{key: one[key] for key in ("id", "response", "starts_at")} for one in (late, bare)] + lines[
            2:
        ]


@pytest.mark.timeout(60)
def test_a_file_that_never_ends_or_is_vast_is_refused(recipe: Path) -> None:
    path = recipe.with_name("vast.json")
    arguments = ["--config", str(recipe), "--predictions", str(path)]
    os.mkfifo(path)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and "is a pipe, which is never opened: name a file" in refused.output
    path.unlink()
    with path.open("wb") as file:
        file.write(b"[")
        file.truncate(2**31 + 1)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and "a JSON list of more than 2,147,483,648 bytes" in refused.output


def test_a_line_that_is_too_long_costs_itself(recipe: Path) -> None:
    path = recipe.with_name("predictions.jsonl")
    lines = [
        {"id": "a", "answer": "1 to 3"},
        {"id": "b", "answer": " " * 2**24},
        {"id": "c", "answer": "0 to 5"},
    ]
    done = evaluate(recipe, lines)
    assert done.exit_code == 0, done.output
    assert figures(results_of(recipe), "mine")["mIoU"] == "50.00"
    assert any(f"{path}:2: longer than 16,777,216 bytes" in note for note in results_of(recipe).notes)
