"""Damaged replies over real connections: each ends in verdicts, one per event, or in an endpoint error in time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tenacity import wait_none

from actors import judge_endpoint
from actors.caption_judge import EndpointJudge
from actors.judge_endpoint import JudgeSettings
from actors.judge_reply import MAX_BODY_BYTES, EndpointError
from tests.actors.judge_server import JudgeServer, serving

EVENTS = ["a dog runs", "it rains"]
TIMEOUT_S = 0.2
VALUES = [
    *(
        "null",
        "true",
        "1e999",
        "-0",
        "NaN",
        "Infinity",
        "9" * 5000,
        "1e-400",
        '""',
        '"\\ud800"',
        '"\\u0000"',
        "{}",
    ),
    *(
        "[]",
        "[" * 2000,
        '{"a":' * 2000,
        '"' + "x" * 3000 + '"',
        "[[]]",
        '["entailed"]',
        "'",
        "// no",
        "\ufeff",
    ),
]
HEADERS = [
    *(
        "Content-Length: 0",
        "Content-Length: 7",
        "Content-Length: 999999",
        "Content-Length: -1",
        "Content-Length: x",
    ),
    *("Content-Length: 3\r\nContent-Length: 4", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip"),
    *(
        "Content-Encoding: gzip",
        "Content-Encoding: \xff",
        "Content-Type: text/html; charset=no",
        "Retry-After: 9e9",
    ),
    *(
        "Content-Type: application/json; charset=utf-16",
        "Location: http://[",
        "Location: /v1",
        "Retry-After: -1",
    ),
    *(
        "Retry-After: " + "9" * 400,
        "Connection: close",
        "A" * 70_000 + ": b",
        ": empty",
        "no colon",
        "X: a\r\n b",
    ),
]
STATUS = [
    *(
        "200 OK",
        "200",
        "204 No",
        "206 Part",
        "301 Moved",
        "302 Found",
        "307 There",
        "401 No",
        "404 No",
        "429 Wait",
    )
]
STATUS += [
    *("500 Oh", "503 Oh", "599 Oh", "999 Oh", "100 Continue", "101 Switch", "-1 No", "20 OK", "abc", "")
]


def content(dice: random.Random) -> str:
    """What the model says: verdicts, of which a part may be something else."""
    verdicts = dice.choices(
        ["entailed", "missing", "contradicted", "maybe"], [20, 6, 6, 1], k=dice.choice([2] * 8 + [1, 3])
    )
    text = json.dumps({"verdicts": verdicts})
    if dice.random() < 0.15:
        text = text.replace(json.dumps(verdicts[0]), dice.choice(VALUES), 1)
    return dice.choice(["", "", "so: ", "```json\n"]) + text + dice.choice([""] * 4 + ["\n```", "}", "."])


def body(dice: random.Random) -> bytes:
    """A chat completion with damage to its values, its bytes or neither."""
    completion = json.dumps({"choices": [{"message": {"content": content(dice)}}]})
    if dice.random() < 0.1:
        completion = dice.choice([f'{{"choices": {value}}}' for value in VALUES] + VALUES)
    raw = bytearray(completion.encode(dice.choice(["utf-8"] * 12 + ["utf-16", "utf-32"]), "surrogatepass"))
    for _ in range(dice.choice([0] * 6 + [1, 3])):
        place = dice.randrange(len(raw) + 1)
        raw[place : place + dice.randrange(4)] = dice.randbytes(dice.randrange(4))
    if dice.random() < 0.1:
        del raw[dice.randrange(len(raw) + 1) :]
    return bytes(raw) + b" " * (2 * MAX_BODY_BYTES if dice.random() < 0.005 else 0)


def chunked(dice: random.Random, content: bytes) -> bytes:
    size = dice.choice([f"{len(content):x}", f"{len(content):x};a=b", "zz", "-5", "f" * 30, "0", ""])
    return (
        size.encode()
        + b"\r\n"
        + content
        + dice.choice([b"\r\n0\r\n\r\n", b"\r\n", b"", b"\r\n0\r\nX: y\r\n\r\n"])
    )


def reply(dice: random.Random) -> bytes:
    """A whole answer as it goes over the wire."""
    sent = body(dice)
    headers = [f"Content-Length: {len(sent)}"]
    if dice.random() < 0.3:
        headers = dice.sample(HEADERS, dice.choice([0, 1, 2]))
    if "Transfer-Encoding: chunked" in headers:
        sent = chunked(dice, sent)
    status = dice.choice(STATUS) if dice.random() < 0.3 else "200 OK"
    head = (
        "\r\n".join([f"HTTP/{dice.choice(['1.1'] * 20 + ['1.0', '2', '9'])} {status}", *headers]) + "\r\n\r\n"
    )
    return (dice.randbytes(9) if dice.random() < 0.02 else b"") + head.encode("latin-1") + sent


def sending(wire: bytes, pause_s: float) -> Callable[[JudgeServer, BaseHTTPRequestHandler], None]:
    """Sends these bytes, a few at a time where there is a pause between them, and hangs up."""

    def answer(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        step = 7 if pause_s else len(wire) + 1
        for place in range(0, len(wire), step):
            handler.wfile.write(wire[place : place + step])
            if pause_s and server.closing.wait(pause_s):
                return

    return answer


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("count", [600, pytest.param(200_000, marks=pytest.mark.slow)])
def test_any_reply_ends_in_verdicts_or_an_endpoint_error(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_endpoint, "ATTEMPTS", 1)
    monkeypatch.setattr(judge_endpoint, "BACK_OFF", wait_none())
    ends = {"verdicts": 0, "nothing": 0, "error": 0}
    started = time.monotonic()
    with serving() as server:
        cache = str(tmp_path / "judge.sqlite")
        settings = JudgeSettings(
            server.url, "m", cache, requests_per_minute=1e6, max_requests=10**9, timeout_s=TIMEOUT_S
        )
        judge = EndpointJudge(settings)
        for seed in range(count):
            dice = random.Random(seed)
            wire = reply(dice)
            server.always = sending(wire, 0.02 if dice.random() < 0.01 else 0.0)
            began = time.monotonic()
            try:
                told = judge.told(f"caption {seed}", EVENTS)
            except EndpointError:
                ends["error"] += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}: {wire[:500]!r}") from error
            else:
                assert [type(verdict) for verdict in told] == [bool, bool], f"seed {seed}"
                ends["verdicts" if any(told) else "nothing"] += 1
            # A busy machine may take long to wake up; without a deadline there is no end.
            assert time.monotonic() - began < TIMEOUT_S + 5, f"seed {seed}"
        assert judge.report().requests == count
    print(f"{count / (time.monotonic() - started):.0f} replies a second: {ends}")
    assert min(ends.values()) > count / 20, ends
