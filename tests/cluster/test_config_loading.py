"""Files and overrides become one configuration; every mistake is told, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.config.loading import load_config, to_yaml
from cluster.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(path, overrides)
    return str(error.value)


def test_the_demo_allows_rollout_and_learner_no_more_than_rounding() -> None:
    """Both compute in float32: a real disagreement may stay far below the default bound, which bfloat16 needs."""
    config = load_config(ROOT / "configs" / "local.yaml")
    assert config.model.dtype == "float32"
    assert config.grpo.mismatch_bound <= 1.0001


def test_values_of_every_kind(write: Write) -> None:
    path = write(
        "learner: {learning_rate: 1e-6, adam_betas: [0.9, 0.95], freeze_vision: true}\n"
        "data: {num_prompts: 7, tasks: {tracking: 1}}\nray: {address: ~}\nlogging: {wandb_mode: online}"
    )
    config = load_config(path)
    assert config.learner.learning_rate == 1e-6
    assert config.learner.adam_betas == (0.9, 0.95)
    assert config.learner.freeze_vision
    assert config.data.tasks == {"tracking": 1.0}
    assert config.ray.address is None


def test_what_is_written_out_reads_back(write: Write) -> None:
    config = load_config(write("learner: {learning_rate: 1e-6}\ndata: {tasks: {tracking: 2}}"))
    assert load_config(write(to_yaml(config), "again.yaml")) == config


def test_a_chain_of_files(write: Write) -> None:
    write("grpo: {steps: 1, prompts_per_step: 1}\nrun: {seed: 1}", "base/far.yaml")
    write("extends: far.yaml\ngrpo: {steps: 2}", "base/near.yaml")
    config = load_config(write("extends: base/near.yaml\nrun: {name: x}"))
    assert (config.grpo.steps, config.grpo.prompts_per_step, config.run.seed, config.run.name) == (
        2,
        1,
        1,
        "x",
    )


def test_a_mapping_is_replaced_whole(write: Write) -> None:
    write("data: {tasks: {tracking: 1}}", "base.yaml")
    config = load_config(write("extends: base.yaml\ndata: {tasks: {grounded_qa: 1}}"))
    assert list(config.data.tasks) == ["grounded_qa"]


def test_overrides_win_in_order(write: Write) -> None:
    config = load_config(
        write("grpo: {steps: 1}\ndata: {tasks: {tracking: 1}}"),
        [
            "grpo.steps=2",
            "grpo.steps=3",
            "data.tasks.grounded_qa=2",
            "learner.adam_betas=[0.8, 0.9]",
            "data={prefetch: 5}",
            "logging.wandb_project=a=b",
        ],
    )
    assert config.grpo.steps == 3
    assert config.data.tasks == {"tracking": 1.0, "grounded_qa": 2.0}
    assert config.learner.adam_betas == (0.8, 0.9)
    assert config.data.prefetch == 5
    assert config.logging.wandb_project == "a=b"


def test_an_override_of_one_task_starts_from_the_defaults(write: Write) -> None:
    config = load_config(write("run: {}"), ["data.tasks.tracking=0"])
    assert config.data.tasks["tracking"] == 0
    assert config.data.tasks["grounded_qa"] == 1


def test_null_where_it_is_allowed(write: Write) -> None:
    assert load_config(write("rollout: {threads_per_worker: 2}"), ["rollout.threads_per_worker=null"])
    assert "rollout.num_workers = null (command line)" in message(write("run:"), "rollout.num_workers=")


def test_a_misspelled_key_names_place_and_nearest(write: Write) -> None:
    path = write("run:\n  name: x\nrollout:\n  group_szie: 8\n")
    assert message(path) == (
        f"1 mistake in the configuration {path}:\n"
        f"  - rollout.group_szie = 8 ({path}:4): there is no such key; did you mean rollout.group_size?"
    )


def test_a_key_like_no_other_lists_what_is_valid(write: Write) -> None:
    assert "valid here: backend, bucket_mib, timeout_s" in message(write("sync: {xyz: 1}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rollout: {num_workers: two}", 'rollout.num_workers = "two"'),
        ("rollout: {num_workers: 1.5}", "expected a whole number at least 1"),
        ("rollout: {num_workers: true}", "expected a whole number at least 1"),
        ("rollout: {num_workers: '2'}", "expected a whole number at least 1"),
        ("rollout: {num_workers: 0}", "expected a whole number at least 1"),
        ("learner: {zero_stage: 4}", "expected a whole number at least 0 and at most 3"),
        ("learner: {freeze_vision: 1}", "expected true or false"),
        ("learner: {freeze_vision: yes}", "expected true or false"),
        ("learner: {learning_rate: .nan}", "expected a number above 0"),
        ("learner: {adam_betas: [0.9]}", "expected a list of 2 numbers"),
        ("run: {algorithm: ppo}", "expected one of grpo, sft"),
        ("run: {name: 7}", "expected text"),
        ("run: {name: a/b}", "letters, digits"),
        ("data: {tasks: {trackin: 1}}", "did you mean data.tasks.tracking?"),
        ("data: {tasks: {tracking: lots}}", "to a number"),
        ("data: {num_prompts: many}", "expected a whole number at least 1 or null"),
        ("video: {max_frames: 7}", "a multiple of 2"),
        ("rollout: 3", "is a section; give its fields: num_workers"),
        ("rollout: [1]", "is a section"),
    ],
)
def test_a_wrong_value_names_key_place_and_what_is_allowed(write: Write, text: str, expected: str) -> None:
    path = write(text)
    found = message(path)
    assert found.startswith("1 mistake"), found
    assert expected in found
    assert f"{path}:1" in found


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    write("grpo: {stepz: 1}", "base.yaml")
    path = write(
        "extends: base.yaml\nrollout:\n  group_size: 1\n  num_workers: two\nlearner: {num_worker: 2}\n"
    )
    found = message(path, "sync.backend=nccl", "data.nonsense=1", "nonsense", "run.seed=[")
    for part in (
        f"grpo.stepz = 1 ({path.parent / 'base.yaml'}:1)",
        f"rollout.group_size = 1 ({path}:3)",
        f'rollout.num_workers = "two" ({path}:4)',
        f"learner.num_worker = 2 ({path}:5)",
        "  - nccl moves weights between GPUs; use gloo or auto on the CPU\n"
        '      sync.backend = "nccl" (command line)\n'
        "      learner.gpus_per_worker = 0.0 (the default)\n",
        "data.nonsense = 1 (command line)",
        "'nonsense' (command line): expected section.field=value",
        "'run.seed=[' (command line): the value is not YAML",
    ):
        assert part in found, found


def test_no_contradiction_is_drawn_from_a_value_that_is_wrong_itself(write: Write) -> None:
    found = message(write("learner: {zero_stage: none, offload_optimizer: true, gpus_per_worker: 1}"))
    assert found.startswith("1 mistake"), found


def test_nor_from_one_whose_key_was_misspelled(write: Write) -> None:
    found = message(write("rollout: {max_promt_tokens: 512}\nlearner: {micro_batch_tokens: 1024}"))
    assert found.startswith("1 mistake"), found


def test_a_key_given_twice(write: Write) -> None:
    path = write("grpo: {steps: 1}\nrollout: {num_workers: 1}\ngrpo: {steps: 2}")
    assert f"{path}:3: grpo is given twice in this file" in message(path)


def test_keys_that_are_not_text(write: Write) -> None:
    assert "1 = 2" in message(write("1: 2"))
    assert "True = 2" in message(write("true: 2"))


def test_extends_in_a_circle(write: Write) -> None:
    write("extends: run.yaml", "other.yaml")
    found = message(write("extends: other.yaml"))
    assert found.startswith("extends goes in a circle")
    assert "run.yaml -> " in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: nowhere.yaml", "run.yaml:1: extends = "),
        ("extends: ~no-such-user/a.yaml", "run.yaml:1: extends = "),
        (f"extends: {'x' * 5000}", "there is no such file"),
        ("run: {}\nextends: [a, b]", "run.yaml:2: extends = ['a', 'b']: must be the path of one YAML file"),
        ("", "expected sections"),
        ("- a\n- b", "expected sections (`run:`, `model:`, ...), found a list"),
        ("run: {name: x", "line 1, column"),
        ("run: !!python/object:os.system {}", "not readable as YAML"),
    ],
)
def test_a_file_that_cannot_be_read(write: Write, text: str, expected: str) -> None:
    assert expected in message(write(text))


def test_a_missing_file(tmp_path: Path) -> None:
    assert message(tmp_path / "nothing.yaml") == f"{tmp_path / 'nothing.yaml'}: there is no such file"
    assert message(tmp_path) == f"{tmp_path}: is a folder, where a file is wanted"


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"run: \xff\xfe")
    assert "cannot be read" in message(path)


ENTRIES = """\
model: {path: owner/name}
data:
  datasets:
    - name: first
      format: jsonl
      annotations: a.jsonl
      weight: 2
      options: {durations: d.csv}
    - {name: second, format: jsonl, annotations: b.jsonl, weight: 1, difficulty: [0.1, 0.9]}
  grades: g.jsonl
"""


def test_a_list_of_datasets(write: Write) -> None:
    path = write(ENTRIES)
    first, second = load_config(path, ["data.datasets[1].cap=5", "data.datasets[0].weight=0.5"]).data.datasets
    assert (first.name, first.weight, first.cap, first.options) == (
        "first",
        0.5,
        None,
        {"durations": "d.csv"},
    )
    assert (second.cap, second.difficulty) == (5, (0.1, 0.9))
    config = load_config(path)
    assert load_config(write(to_yaml(config), "again.yaml")) == config


def test_a_list_is_replaced_whole(write: Write) -> None:
    write(ENTRIES, "base.yaml")
    path = write("extends: base.yaml\ndata: {datasets: [{name: x, format: jsonl, annotations: c.jsonl}]}")
    assert [entry.name for entry in load_config(path).data.datasets] == ["x"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("weight: 2", "wieght: 2", "wieght = 2 ({}:7): there is no such key; did you mean data.datasets[0].weight?"),
        ("options: {durations: d.csv}", "xyzzy: 2", "[0].xyzzy = 2 ({}:8): there is no such key; valid here: name, "),
        ("weight: 2", "weight: 0", "[0].weight = 0 ({}:7): expected a number above 0 or null"),
        ("weight: 1", "weight: '1'", '[1].weight = "1" ({}:9): expected a number above 0 or null'),
        ("b.jsonl", "7", "[1].annotations = 7 ({}:9): expected text not empty"),
        ("[0.1, 0.9]", "[0.1]", "[1].difficulty = [0.1] ({}:9): expected a list of 2 numbers or null"),
        ("d.csv", "7", '[0].options = {{"durations": 7}} ({}:8): expected a mapping from names to text'),
        ("      annotations: a.jsonl\n", "", "({}:4): has no annotations; expected text not empty"),
        ("annotations: a", "anotations: a", "({}:6): there is no such key; did you mean data.datasets[0].annotations?"),
        ("{name: second", "{nmae: second", "({}:9): there is no such key; did you mean data.datasets[1].name?"),
        ("format: jsonl\n", "format: charades\n", "({}:5): there is no such format; did you mean charades_sta?"),
        ("name: second", "name: first", "[1].name = \"first\" ({}:9): an earlier dataset of the list has that name"),
        ("  grades: g.jsonl\n", "", "difficulties are graded ones; say which file has them"),
        ("difficulty: [0.1", "difficulty: [0.95", "must be the least and the greatest difficulty"),
        ("weight: 2", "duration: [9, 3]\n      weight: 2", "must be the shortest and the longest time"),
        ("weight: 1", "weight: null", "weights are relative to each other: give every dataset one, or none"),
        ("weight: 2\n", "weight: 2\n      weight: 3\n", "{}:8: data.datasets[0].weight is given twice in this file"),
        ("  grades", "  source: a.jsonl\n  grades", "prompts come from one of them; leave one out"),
        ("model: {path: owner/name}", "", "annotations hold answers and no think part"),
        ("  grades", "  eval_datasets: [{name: x, format: jsonl, annotations: ./a.jsonl}]\n  grades", "held-out prom"),
        ("  grades", "  eval_datasets: [{name: x, format: jsonl, annotations: c, weight: 1}]\n  grades", "no such key"),
        ("  grades", "  eval_source: ./b.jsonl\n  grades", 'data.eval_source = "./b.jsonl" ({}:10): held-out prompts'),
        ("  grades", "  eval_datasets: 3\n  grades", "expected a list of entries of name, format, "),
        ("  grades", "  eval_datasets: [x]\n  grades", 'eval_datasets[0] = "x" ({}:10): expected an entry of name'),
    ],
)  # fmt: skip
def test_a_mistake_in_an_entry_names_its_place(write: Write, old: str, new: str, expected: str) -> None:
    assert old in ENTRIES
    path = write(ENTRIES.replace(old, new))
    found = message(path)
    assert found.startswith("1 mistake"), found
    assert expected.format(path) in found


def test_no_contradiction_is_drawn_from_a_list_with_a_wrong_entry(write: Write) -> None:
    """Without its datasets the run would be one on synthetic clips, which have no end."""
    found = message(write(ENTRIES.replace("weight: 2", "weight: 0")), "data.num_prompts=null")
    assert found.startswith("1 mistake"), found


def test_every_mistake_of_every_entry_is_told_at_once(write: Write) -> None:
    text = ENTRIES.replace("weight: 2", "wieght: 2").replace("weight: 1", "cap: 0").replace("second", "a/b")
    found = message(write(text), "data.datasets[7].cap=1", "data.datasets[0].capp=1", "grpo.stepz=1")
    assert found.startswith("6 mistakes"), found
    for part in (
        "data.datasets[0].wieght = 2",
        "data.datasets[1].cap = 0",
        'data.datasets[1].name = "a/b"',
        "data.datasets[7].cap = 1 (command line): there are 2 entries, counted from 0",
        "data.datasets[0].capp = 1 (command line): there is no such key; did you mean data.datasets[0].cap?",
        "grpo.stepz",
    ):
        assert part in found, found
