"""docs/tasks.md says of each task what its file says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from actors.custom_reward import apply_custom_reward, load_custom_reward
from data.schema import Task, parse_prompt
from rewards import SPECS, Scorer
from rewards.spec import TaskOptions

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
SECTIONS = {text.split("\n", 1)[0]: text for text in PAGE.split("\n## ")[1:]}


def test_there_is_a_section_for_each_task() -> None:
    beyond = [
        "A reward of your own",
        "The judge of captions",
        "The bonus for the order of frames",
        "Perception rounds",
    ]
    assert list(SECTIONS) == ["What all tasks share", *Task, *beyond]


def first_cells(section: str) -> list[str]:
    return re.findall(r"^\| (`.+?`) \|", section, flags=re.MULTILINE)


@pytest.mark.parametrize("task", Task)
def test_a_section_has_every_component_option_and_metric(task: Task) -> None:
    spec, section = SPECS[task], SECTIONS[task]
    own = [name for name in spec.options.model_fields if name not in TaskOptions.model_fields]
    switched_on = {name: True for name in own if spec.options.model_fields[name].default is False}
    combinations = [{}, *({name: value} for name, value in switched_on.items())]
    components = dict.fromkeys(
        name for some in combinations for name in Scorer(task, options=some).components
    )
    assert first_cells(section) == [f"`{name}`" for name in (*components, *own)]
    assert [metric.name for metric in spec.metrics if f"`{metric.name}`" not in section] == []


def test_the_options_of_every_task_are_listed() -> None:
    listed = re.findall(r"`(\w+)`", " ".join(first_cells(SECTIONS["What all tasks share"])))
    assert [name for name in TaskOptions.model_fields if name not in listed] == []
    defaults = TaskOptions().model_dump().values()
    assert all(f"{value:g}" in SECTIONS["What all tasks share"] for value in defaults)


@pytest.mark.parametrize("task", Task)
def test_the_sample_of_a_section_can_be_used(task: Task) -> None:
    (line,) = re.findall(r"```json\n(.*)\n```", SECTIONS[task])
    assert parse_prompt(json.loads(line), Path()).task is task


def test_the_reward_of_ones_own_is_one_that_can_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS["A reward of your own"], flags=re.DOTALL)
    (path,) = re.findall(r"reward\.custom=\{temporal_grounding: (\S+)\}", SECTIONS["A reward of your own"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    function = load_custom_reward("temporal_grounding", path)
    found = [
        apply_custom_reward(function, "temporal_grounding", response, {"interval": [2.0, 6.0]}, 8.0)
        for response in ("<think>.</think><answer>4 to 6</answer>", "no idea")
    ]
    assert found == [
        ({"format": 1.0, "iou": 0.5, "start": 0.75}, None),
        ({"format": 0.0, "iou": 0.0, "start": 0.0}, None),
    ]
