"""The caption judge against a real server: right verdicts, no request too many, and an end to every misbehaviour."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from actors import caption_judge, judge_endpoint
from actors.caption_judge import EndpointJudge, QuestionNotes, make_judge
from actors.judge_endpoint import ATTEMPTS, EndpointError, JudgeSettings, UnreadableAnswer, read_verdicts
from rewards.judge import Judge, LexicalJudge
from tests.actors.judge_server import (
    Answer,
    JudgeServer,
    garbage,
    gathering,
    hang,
    hang_up,
    question,
    says,
    serving,
    status,
    trickle,
    verdicts,
)

EVENTS = ["a dog runs", "a cat sleeps", "it rains"]
CAPTION = "On a lawn a dog runs while it rains."
TOLD = [True, False, True]


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_endpoint, "BACK_OFF", wait_none())
    # A proxy that is not there: a judge on this machine is asked without it.
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(server: JudgeServer, tmp_path: Path) -> JudgeSettings:
    return JudgeSettings(server.url, "some-model", str(tmp_path / "judge.sqlite"), requests_per_minute=60_000)


def judge(settings: JudgeSettings, substitute: Judge | None = None, **changes: Any) -> EndpointJudge:
    return EndpointJudge(replace(settings, **changes), substitute)


class Fixed(LexicalJudge):
    """Finds everything told by some descriptions and nothing by the others."""

    def __init__(self, *descriptions: str) -> None:
        self.descriptions = descriptions

    def told(self, description: str, events: Sequence[str]) -> list[bool]:
        return [description in self.descriptions] * len(events)


def test_a_verdict_per_event_in_order(server: JudgeServer, settings: JudgeSettings) -> None:
    assert judge(settings, api_key="s3cret").told(CAPTION, EVENTS) == TOLD
    (request,) = server.requests
    assert (request["path"], request["model"], request["key"], request["temperature"]) == (
        "/v1/chat/completions",
        "some-model",
        "Bearer s3cret",
        0,
    )
    assert question(request) == {"description": CAPTION, "events": EVENTS}


def test_no_key_sends_none_and_the_key_is_not_shown(server: JudgeServer, settings: JudgeSettings) -> None:
    judge(settings).told(CAPTION, EVENTS)
    assert server.requests[0]["key"] is None
    assert "s3cret" not in repr(replace(settings, api_key="s3cret"))


def test_a_description_that_is_empty_tells_nothing_and_costs_nothing(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    judging = judge(settings)
    assert judging.told(" \n", EVENTS) == [False] * 3
    assert judging.told(CAPTION, []) == []
    assert server.requests == []


def test_events_share_requests_up_to_the_bound(
    server: JudgeServer, settings: JudgeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caption_judge, "EVENTS_PER_REQUEST", 3)
    events = [f"e{number}." for number in range(7)]
    told = judge(settings).told("e0. e4. e6.", events)
    assert told == [True, False, False, False, True, False, True]
    assert server.events == [events[:3], events[3:6], events[6:]]


def test_a_question_asked_before_makes_no_request(server: JudgeServer, settings: JudgeSettings) -> None:
    first = judge(settings)
    first.prepare([(tuple(EVENTS), CAPTION), (tuple(EVENTS), CAPTION)])
    assert first.told(CAPTION, EVENTS) == TOLD
    again = judge(settings)
    assert again.told(CAPTION, EVENTS) == TOLD
    assert len(server.requests) == 1
    assert (again.report().cached, again.report().requests) == (1, 1)


@pytest.mark.parametrize(
    "changes", [{"model": "another"}, {"caption": CAPTION + " End."}, {"events": EVENTS[:2]}]
)
def test_another_model_description_or_event_is_another_question(
    server: JudgeServer, settings: JudgeSettings, changes: dict[str, Any]
) -> None:
    judge(settings).told(CAPTION, EVENTS)
    judge(settings, model=changes.get("model", settings.model)).told(
        changes.get("caption", CAPTION), changes.get("events", EVENTS)
    )
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "trouble",
    [
        status(429),
        status(500),
        status(503, Retry_After="soon"),
        garbage,
        gathering,
        hang_up,
        says("I think so."),
        verdicts("entailed"),
        verdicts("entailed", "missing", "maybe"),
        says('{"verdicts": "entailed"}'),
    ],
)
def test_what_may_pass_is_tried_again(server: JudgeServer, settings: JudgeSettings, trouble: Answer) -> None:
    server.script = [trouble] * (ATTEMPTS - 1)
    judging = judge(settings)
    assert judging.told(CAPTION, EVENTS) == TOLD
    assert len(server.requests) == judging.report().requests == ATTEMPTS


def test_the_server_says_how_long_to_wait(server: JudgeServer, settings: JudgeSettings) -> None:
    server.script = [status(429, Retry_After="1")]
    judge(settings).told(CAPTION, EVENTS)
    first, second = server.times
    assert second - first >= 1.0


@pytest.mark.parametrize("silence", [hang, trickle])
def test_a_server_that_never_answers_is_given_up_on(
    server: JudgeServer, settings: JudgeSettings, silence: Answer
) -> None:
    server.always = silence
    judging = judge(settings, timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(EndpointError, match=r"some-model at http.*no answer within 0\.2 s"):
        judging.told(CAPTION, EVENTS)
    assert time.monotonic() - started >= 0.2 * ATTEMPTS
    # Not what the server saw: it may be too busy to read a request before it is given up on.
    assert judging.report().requests == ATTEMPTS


@pytest.mark.parametrize("code", [301, 400, 401, 404])
def test_what_will_not_pass_is_not_tried_again(
    server: JudgeServer, settings: JudgeSettings, code: int
) -> None:
    server.always = status(code)
    with pytest.raises(EndpointError, match=f"HTTP {code}: no"):
        judge(settings).told(CAPTION, EVENTS)
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_named(settings: JudgeSettings) -> None:
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:9/v1 cannot be used: ConnectError"):
        judge(settings, base_url="http://127.0.0.1:9/v1").told(CAPTION, EVENTS)


def test_after_a_failure_the_rest_of_the_batch_is_not_tried(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    server.always = status(401)
    judging = judge(settings, Fixed(), concurrency=2)
    judging.prepare([(("e",), f"caption {number}") for number in range(50)])
    assert len(server.requests) <= 2
    assert judging.report().fallbacks == 50
    assert "HTTP 401" in ("".join(judging.report().problems.values()))


def test_a_failing_endpoint_is_tried_again_with_the_next_batch(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    server.script = [status(401)]
    judging = judge(settings, Fixed())
    judging.prepare([(tuple(EVENTS), CAPTION)])
    assert judging.told(CAPTION, EVENTS) == [False] * 3
    judging.prepare([(tuple(EVENTS), CAPTION)])
    assert judging.told(CAPTION, EVENTS) == TOLD


def test_a_model_that_never_answers_readably_gives_nothing_and_is_reported(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    """Not the substitute's verdicts: a description that confuses the judge must not gain by it."""
    server.script = [verdicts("entailed")] * ATTEMPTS
    judging = judge(settings, Fixed(CAPTION))
    assert judging.told(CAPTION, EVENTS) == [False] * 3
    assert judging.report().unreadable == 1
    assert "1 verdicts for 3 events" in ("".join(judging.report().problems.values()))
    assert judge(settings).told(CAPTION, EVENTS) == TOLD, "what was not readable is not kept"


def test_the_budget_bounds_requests_over_restarts(server: JudgeServer, settings: JudgeSettings) -> None:
    questions = [(("e",), f"{number} e") for number in range(9)]
    judge(settings, max_requests=5).prepare(questions[:3])
    later = judge(settings, Fixed("told"), max_requests=5, concurrency=4)
    later.prepare([*questions, (("e",), "told")])
    assert len(server.requests) == later.report().requests == 5
    assert later.report().fallbacks == 5 and later.report().cached == 3
    assert "its budget is spent: 5 requests (judge.max_requests)" in (later.report().problems["BudgetSpent"])
    assert [later.told(caption, events) for events, caption in questions[:3]] == [[True]] * 3
    assert later.told("told", ["e"]) == [True], "the substitute's verdict"


def test_failed_attempts_are_paid_for(server: JudgeServer, settings: JudgeSettings) -> None:
    server.always = status(500)
    with pytest.raises(EndpointError, match="its budget is spent: 2 requests"):
        judge(settings, max_requests=2).told(CAPTION, EVENTS)
    assert len(server.requests) == 2


def test_without_a_substitute_a_spent_budget_is_an_error(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    judging = judge(settings, max_requests=1)
    judging.told(CAPTION, EVENTS)
    with pytest.raises(EndpointError, match=r"judge\.max_requests"):
        judging.told("something else", EVENTS)


def test_the_events_of_a_reference_are_the_lexical_judges(
    server: JudgeServer, settings: JudgeSettings
) -> None:
    reference = "A man opens the door. Then a dog runs out, and it rains."
    assert judge(settings).events(reference) == LexicalJudge().events(reference)
    assert server.requests == []


def test_the_settings_name_the_substitute(settings: JudgeSettings) -> None:
    gone = replace(settings, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="cannot be used: ConnectError"):
        make_judge(gone).told(CAPTION, EVENTS)
    lexical = make_judge(replace(gone, fallback="lexical"))
    assert lexical.told(CAPTION, EVENTS) == LexicalJudge().told(CAPTION, EVENTS) == TOLD
    assert lexical.report().fallbacks == 1
    assert "the lexical judge takes its place" in lexical.report().problems["PassingError"]


def test_notes_are_what_was_asked_since_they_were_taken_last() -> None:
    notes = QuestionNotes()
    assert notes.told(CAPTION, EVENTS) == [False] * 3
    assert notes.take() == [(tuple(EVENTS), CAPTION)]
    assert notes.take() == []


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_requests_at_a_time_than_allowed(
    server: JudgeServer, settings: JudgeSettings, bound: int
) -> None:
    server.always = gathering(bound)
    judge(settings, concurrency=bound, timeout_s=60.0).prepare([(("e",), f"caption {n}") for n in range(6)])
    assert len(server.requests) == 6
    assert server.busiest == bound


def test_requests_start_no_faster_than_the_rate(server: JudgeServer, settings: JudgeSettings) -> None:
    """One a second: five requests span four, retries included; unbounded they take a fraction of one."""
    server.script = [status(500)]
    judge(settings, requests_per_minute=60.0).prepare([(("e",), f"caption {n}") for n in range(4)])
    assert len(server.times) == 5
    assert server.times[-1] - server.times[0] >= 3.5


@pytest.mark.parametrize(
    "text",
    [
        '{"verdicts": ["entailed", "contradicted"]}',
        '```json\n{"verdicts": ["entailed", "missing"]}\n```',
        '<think>maybe {"verdicts": []}</think> So: {"verdicts": ["entailed", "missing"]}.',
    ],
)
def test_verdicts_are_found_in_what_surrounds_them(text: str) -> None:
    assert read_verdicts(completion(text), 2) == [True, False]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices": []}', b'{"choices": [{"message": {}}]}', b"\xff"])
def test_other_bodies_are_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableAnswer, match="not the JSON asked for"):
        read_verdicts(body, 1)


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()
