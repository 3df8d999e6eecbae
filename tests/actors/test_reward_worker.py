"""Reward workers: rules by default, the user's functions where named, and no way for either to end a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors import reward_worker
from actors.custom_reward import CustomRewardError, load_custom_reward
from actors.judge_endpoint import JudgeSettings
from actors.reward_worker import RewardWorker
from data.records import Response
from data.schema import Task, VideoPrompt
from rewards import Score
from tests.actors.judge_server import gathering, serving

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


def item(text: str = GOOD, thinking: bool = True) -> tuple[VideoPrompt, Response, bool]:
    prompt = VideoPrompt("p", Task.MULTIPLE_CHOICE, "c.mp4", "?", {"answer": "B"}, 4.0, ("red", "blue"))
    return prompt, Response(0, [], text, [], "stop", []), thinking


def test_responses_are_scored_by_rule_in_order() -> None:
    scores = RewardWorker().score([item(GOOD), item(BAD), item("<answer>B</answer>", thinking=False)])
    assert [score.total for score in scores] == [2.0, 0.0, 2.0]
    assert scores[0].rewards == {"format": 1.0, "accuracy": 1.0}
    assert scores[1].reason


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


def recall(task: str, response: str, *_: Any, judge: Any = None, **__: Any) -> Score:
    """A scorer that asks a judge about what stands behind the colon."""
    told = judge(["red", "blue"], response.partition(":")[2]) if judge else [False, False]
    value = sum(told) / len(told)
    return Score({"recall": value}, value, True, None, None)


def captions(texts: Sequence[str]) -> list[tuple[VideoPrompt, Response, bool]]:
    return [item(f"caption:{text}") for text in texts]


def test_the_judge_is_asked_about_all_responses_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_worker, "score_response", recall)
    with serving() as server:
        server.always = gathering(3)
        settings = JudgeSettings(
            server.url, "m", str(tmp_path / "j.sqlite"), requests_per_minute=60_000, timeout_s=60.0
        )
        worker = RewardWorker(judge=settings)
        scores = worker.score(captions(["a red one", "a red and a blue one", "none", "a red one"]))
    assert [score.total for score in scores] == [0.5, 1.0, 0.0, 0.5]
    assert len(server.requests) == server.busiest == 3
    assert worker.judge_report().requests == 3


def test_responses_with_a_custom_reward_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_worker, "score_response", recall)
    custom = {"multiple_choice": "my_rewards.length"}
    with serving() as server:
        settings = JudgeSettings(server.url, "m", str(tmp_path / "j.sqlite"))
        worker = RewardWorker(custom=custom, judge=settings)
        worker.score(captions(["a red one"]))
        assert server.requests == []
        (score,) = worker.score(captions(["a red one"]), by_rule=True)
    assert score.total == 0.5 and len(server.requests) == 1


def test_without_a_judge_there_is_nothing_to_report() -> None:
    assert RewardWorker().judge_report().requests == 0
