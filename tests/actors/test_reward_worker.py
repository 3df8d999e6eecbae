"""Reward workers: rules by default, the user's functions where named, and no way for either to end a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from actors import judge_endpoint
from actors.caption_judge import JudgeReport
from actors.custom_reward import CustomRewardError, load_custom_reward
from actors.judge_endpoint import JudgeSettings
from actors.judge_reply import EndpointError
from actors.reward_worker import RewardWorker
from data.records import Response
from data.schema import Task, VideoPrompt
from rewards import Score
from tests.actors.judge_server import JudgeServer, gathering, serving, status

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
        "def too_large(task, response, target, duration):\n    return {'a': 1e308, 'b': 1e308}\n"
        "def nothing(task, response, target, duration):\n    return {}\n"
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


def test_evaluation_reads_what_was_asked_for_and_leaves_shaping_out() -> None:
    prompt = VideoPrompt("p", Task.TEMPORAL_GROUNDING, "c.mp4", "?", {"interval": [0.0, 4.0]}, 8.0)
    several = Response(0, [], "<think>-</think><answer>[(0, 1), (2, 4)]</answer>", [], "stop", [])
    worker = RewardWorker(options={"temporal_grounding": {"max_intervals": 2}})
    (score,) = worker.score([(prompt, several)], by_rule=True)
    assert score.rewards == {"format": 1.0, "iou": 0.75}
    one = replace(several, text="<think>-</think><answer>0 to 2</answer>")
    worker = RewardWorker(options={"temporal_grounding": {"boundary_penalty": True}})
    assert worker.score([(prompt, one)])[0].rewards["iou"] == pytest.approx(0.375)
    assert worker.score([(prompt, one)], by_rule=True)[0].rewards["iou"] == 0.5


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


def test_evaluation_measures_the_precision_of_captions_and_training_does_not() -> None:
    prompt = VideoPrompt("p", Task.CAPTIONING, "c.mp4", "?", {"caption": "A cat jumps. A dog barks."}, 8.0)
    response = Response(0, [], "<think>-</think><answer>A cat jumps.</answer>", [], "stop", [])
    worker = RewardWorker()
    (score,) = worker.score([(prompt, response)], by_rule=True)
    assert score.rewards == {"format": 1.0, "recall": 0.5, "precision": 1.0}
    (score,) = worker.score([(prompt, response)])
    assert score.rewards == {"format": 1.0, "recall": 0.5}


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
        ("too_large", "custom reward returned {'a': 1e+308, 'b': 1e+308}, whose sum is inf"),
        ("nothing", "custom reward returned {}"),
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


CAPTION = Task.CAPTIONING
EVENTS = ["a man opens the door", "a dog runs out"]
BOTH = "At dawn a man opens the door. Then a dog runs out."


def captions(
    texts: Sequence[str], target: dict[str, Any] | None = None
) -> list[tuple[VideoPrompt, Response]]:
    """Responses that describe a clip; the annotation lists its events unless it is given another target."""
    target = target or {"caption": "A man and a dog.", "events": EVENTS}
    prompt = VideoPrompt("c", CAPTION, "c.mp4", "What happens?", target, 9.0)
    texts = [f"<think>so</think><answer>{text}</answer>" for text in texts]
    return [(prompt, Response(n, [], text, [], "stop", [])) for n, text in enumerate(texts)]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JudgeSettings:
    monkeypatch.setattr(judge_endpoint, "BACK_OFF", wait_none())
    cache = str(tmp_path / "judge.sqlite")
    return JudgeSettings(server.url, "m", cache, requests_per_minute=60_000, timeout_s=60.0)


def recalls(scores: Sequence[Score]) -> list[float]:
    return [score.rewards["recall"] for score in scores]


def test_the_judge_is_asked_about_all_captions_at_once(server: JudgeServer, settings: JudgeSettings) -> None:
    server.always = gathering(3)
    worker = RewardWorker(judge=settings)
    scores = worker.score([*captions([BOTH, "a dog runs out", "nothing", BOTH]), item(GOOD)])
    assert recalls(scores[:4]) == [1.0, 0.5, 0.0, 1.0]
    assert scores[4].rewards == {"format": 1.0, "accuracy": 1.0}
    assert len(server.requests) == server.busiest == 3
    assert server.events == [EVENTS] * 3
    assert worker.judge_report().requests == 3


def test_without_listed_events_the_clauses_of_the_reference_are_judged(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    target = {"caption": "a man opens the door. a dog runs out"}
    (score,) = RewardWorker(judge=settings).score(captions(["a dog runs out"], target))
    assert server.events == [EVENTS] and score.rewards["recall"] == 0.5


def test_weights_and_the_template_hold_for_judged_captions(settings: JudgeSettings) -> None:
    worker = RewardWorker(template="direct", weights={"captioning": {"recall": 2.0}}, judge=settings)
    (prompt, response) = captions([BOTH])[0]
    response = replace(response, text=f"<answer>{BOTH}</answer>")
    (score,) = worker.score([(prompt, response)])
    assert score.total == 3.0
    assert worker.score([(prompt, response)], by_rule=True)[0].total == 2.0
    assert worker.judge_report().requests == 2, (
        "one for the recall, asked once, and evaluation's for the precision"
    )


def test_captions_with_a_custom_reward_are_not_judged(server: JudgeServer, settings: JudgeSettings) -> None:
    worker = RewardWorker(custom={"captioning": "my_rewards.length"}, judge=settings)
    worker.score(captions([BOTH]))
    assert server.requests == []
    assert recalls(worker.score(captions([BOTH]), by_rule=True)) == [1.0]
    assert len(server.requests) == 2, "recall and precision"


def test_a_judge_that_fails_ends_the_scoring_where_nothing_may_take_its_place(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    server.script = [status(401)]
    worker = RewardWorker(judge=settings)
    with pytest.raises(EndpointError, match="the judge m at http.*cannot be used: HTTP 401"):
        worker.score(captions([BOTH]))
    assert recalls(worker.score(captions([BOTH]))) == [1.0], "usable again once the server is"


def test_the_lexical_judge_takes_over_for_a_step_where_it_may(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    # Half of an event's words are there, not its text: enough for the lexical judge, not for this server.
    half = "somebody opens some door"
    server.script = [status(401)]
    worker = RewardWorker(judge=replace(settings, fallback="lexical"))
    assert recalls(worker.score(captions([half]))) == [0.5]
    report = worker.judge_report()
    assert report.fallbacks == 1 and "the lexical judge takes its place" in report.problems["EndpointError"]
    assert recalls(worker.score(captions([half]))) == [0.0], "asked again with the next step"


def test_without_a_judge_captions_are_judged_by_their_words() -> None:
    worker = RewardWorker()
    assert recalls(worker.score(captions(["somebody opens some door"]))) == [0.5]
    assert worker.judge_report() == JudgeReport()
