"""A new task is one file and one registration, and everything that lists tasks then has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COUNTING = '''
"""Counting: how many are there?"""

from rewards.constants import most_frequent
from rewards.measures import mean_of
from rewards.numbers import format_number, read_number
from rewards.spec import Constant, Part, TaskOptions, TaskSpec
from rewards.targets import number_problem, read_number_target

NUMBER = Part(
    block="answer",
    key="number",
    component="accuracy",
    read=lambda text, case: read_number(text),
    measure=lambda number, case: float(number == case.truth),
    zero="there are not so many",
)


def baseline(items):
    number = most_frequent(repr(truth) for truth, _ in items)
    return Constant(f"always {number}", [{"answer": number}] * len(items))


SPEC = TaskSpec(
    name="counting",
    title="Counting",
    main="accuracy",
    parts=lambda options: (NUMBER,),
    read_truth=lambda target, choices: read_number_target(target),
    problem=lambda question: number_problem(question.target),
    ask=lambda question: f"How many {question.question} are there?",
    answer=lambda question, options: "their number inside <answer> </answer>.",
    solution=lambda truth, options: {"answer": format_number(truth)},
    baseline=baseline,
    metrics=(mean_of("accuracy", "accuracy", "share of right counts"),),
    options=TaskOptions,
)
'''

USE = """
import json
from pathlib import Path
from data.prompts import PromptStyle, render_prompt
from data.schema import Task, parse_prompt
from rewards import COMPONENTS, constant_baseline, score_response
from rewards.measures import Scored
from rewards.metrics import evaluate_task

fields = {"id": 1, "task": "counting", "video": "c.mp4", "question": "cats", "duration": 3, "target": {"number": 2}}
prompt = parse_prompt(fields, Path())
assert prompt.task is Task.COUNTING
assert COMPONENTS["counting"] == ("format", "accuracy")
score = score_response("counting", "<think>2</think><answer>2</answer>", prompt.target)
assert score.total == 2.0 and score.prediction == {"number": 2.0}
assert constant_baseline("counting", [(prompt.target, 3.0)]).mean == 1.0
assert evaluate_task("counting", [Scored(prompt.target, score=score), Scored(prompt.target)]) == {"accuracy": 0.5}
print(render_prompt(prompt, PromptStyle("direct")))
"""


def test_one_file_and_one_registration(tmp_path: Path) -> None:
    for package in ("data", "rewards"):
        shutil.copytree(ROOT / package, tmp_path / package)
    (tmp_path / "rewards" / "tasks" / "counting.py").write_text(COUNTING)
    registry = tmp_path / "rewards" / "tasks" / "__init__.py"
    text = registry.read_text().replace("    captioning,\n", "    captioning,\n    counting,\n", 1)
    registry.write_text(
        text.replace("        captioning.SPEC,\n", "        captioning.SPEC,\n        counting.SPEC,\n")
    )
    result = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "How many cats are there?\nGive their number inside <answer> </answer>.\n"
