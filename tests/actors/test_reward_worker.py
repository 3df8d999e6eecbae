"""Reward workers: rules by default, the user's functions where named, and no way for either to end a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.custom_reward import CustomRewardError, load_custom_reward
from actors.reward_worker import RewardWorker
from data.records import Response
from data.schema import Task, VideoPrompt

GOOD = "<think>it is red</think><answer>B</answer>"
BAD = "no idea"


@pytest.fixture(autouse=True)
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_rewards.py").write_text(
        "import math\n"
        "constant = 3\n"
        "def length(task, response, target, duration):\n    return len(response) / duration\n"
        "def parts(task, response, target, duration):\n"
        "    return {'answer': response.count(target['answer']), 'style': 0.5}\n"
        "def raises(task, response, target, duration):\n    return target['no such key']\n"
        "def not_a_number(task, response, target, duration):\n    return {'good': 1.0, 'bad': math.nan}\n"
        "def infinite(task, response, target, duration):\n    return math.inf\n"
        "def text(task, response, target, duration):\n    return 'great'\n"
    )
    (tmp_path / "broken_rewards.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_rewards", None)


def item(text: str = GOOD, tokens: int = 0) -> tuple[VideoPrompt, Response]:
    prompt = VideoPrompt("p", Task.MULTIPLE_CHOICE, "c.mp4", "?", {"answer": "B"}, 4.0, ("red", "blue"))
    return prompt, Response(0, [1] * tokens, text, [], "stop", [])


def test_responses_are_scored_by_rule_in_order() -> None:
    scores = RewardWorker().score([item(GOOD), item(BAD), item("<answer>B</answer>")])
    assert [score.total for score in scores] == [2.0, 0.0, 1.0]
    assert scores[0].rewards == {"format": 1.0, "accuracy": 1.0}
    assert scores[1].reason


def test_the_template_decides_the_format() -> None:
    answers = [item("<answer>B</answer>"), item("<answer>B</answer><think>red</think>"), item(GOOD)]
    assert [score.parsed for score in RewardWorker(template="direct").score(answers)] == [True, False, False]
    first = RewardWorker(template="answer_first").score(answers)
    assert [score.parsed for score in first] == [False, True, False]


def test_options_and_weights_are_for_training_only() -> None:
    worker = RewardWorker(
        options={"multiple_choice": {"length_bonus": 0.2, "length_bonus_min_tokens": 10}},
        weights={"multiple_choice": {"format": 0.5}},
    )
    (score,) = worker.score([item(tokens=10)])
    assert score.rewards == {"format": 1.0, "accuracy": 1.0, "length_bonus": 0.2}
    assert score.total == pytest.approx(1.7)
    (score,) = worker.score([item(tokens=10)], by_rule=True)
    assert (score.rewards, score.total) == ({"format": 1.0, "accuracy": 1.0}, 2.0)


def test_letters_beyond_the_options_are_no_answers() -> None:
    (score,) = RewardWorker().score([item("<think>x</think><answer>C</answer>")])
    assert score.rewards["accuracy"] == 0.0


def custom(name: str) -> tuple[RewardWorker, Any]:
    worker = RewardWorker(custom={"multiple_choice": f"my_rewards.{name}"})
    return worker, worker.score([item()])[0]


def test_a_custom_number_takes_the_place_of_the_components() -> None:
    worker, score = custom("length")
    assert score.rewards == {"custom": len(GOOD) / 4.0}
    assert score.total == len(GOOD) / 4.0
    assert (score.parsed, score.prediction) == (True, {"answer": "B"})
    assert worker.failures() == {}


def test_custom_components_are_summed() -> None:
    _, score = custom("parts")
    assert score.rewards == {"answer": 1.0, "style": 0.5}
    assert score.total == 1.5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raises", "custom reward raised KeyError('no such key')"),
        ("not_a_number", "custom reward returned {'bad': nan}"),
        ("infinite", "custom reward returned {'custom': inf}"),
        ("text", "custom reward raised ValueError"),
    ],
)
def test_a_failing_custom_reward_scores_zero_and_is_counted(name: str, reason: str) -> None:
    worker, score = custom(name)
    worker.score([item(), item()])
    assert score.total == 0.0 and not any(score.rewards.values())
    assert all(math.isfinite(value) for value in score.rewards.values())
    assert score.reason and score.reason.startswith(reason)
    assert list(worker.failures().values()) == [3]
    assert next(iter(worker.failures())).startswith("multiple_choice: custom reward")


def test_other_tasks_keep_their_rules() -> None:
    worker = RewardWorker(custom={"tracking": "my_rewards.raises"})
    assert worker.score([item()])[0].rewards == {"format": 1.0, "accuracy": 1.0}


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("my_rewards.missing", "has no attribute 'missing'"),
        ("no_such_package.module.function", "No module named 'no_such_package'"),
        ("broken_rewards.function", "No module named 'no_such_module_anywhere'"),
        ("function", "is not of the form package.module.function"),
        ("my_rewards.constant", "is a int, not a function"),
    ],
)
def test_a_wrong_path_is_named_at_the_start(path: str, problem: str) -> None:
    with pytest.raises(CustomRewardError, match="reward.custom.tracking") as error:
        load_custom_reward("tracking", path)
    assert path in str(error.value) and problem in str(error.value)
    with pytest.raises(CustomRewardError):
        RewardWorker(custom={"tracking": path})
