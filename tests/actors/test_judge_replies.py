"""Whatever a server sends: a verdict or an endpoint error in time, little memory, and the key in no word of it."""

from __future__ import annotations

import gzip
import html
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tenacity import wait_none

from actors import judge_endpoint
from actors.caption_judge import EndpointJudge
from actors.judge_endpoint import ATTEMPTS, JudgeSettings
from actors.judge_key import address_problem, clean_key, masked
from actors.judge_reply import EndpointError
from rewards.judge import LexicalJudge
from tests.actors.judge_server import Answer, JudgeServer, echoes, floods, sends, serving

KEY = "sk-\"s3cret'\\/&<%~"
EVENTS = ["a dog runs", "it rains"]


@pytest.fixture(scope="module")
def server() -> Iterator[JudgeServer]:
    with serving() as running:
        yield running


@pytest.fixture
def settings(server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JudgeSettings:
    monkeypatch.setattr(judge_endpoint, "BACK_OFF", wait_none())
    cache = str(tmp_path / "judge.sqlite")
    return JudgeSettings(server.url, "m", cache, KEY, requests_per_minute=60_000, timeout_s=5.0)


def reply(body: bytes, status: str = "200 OK", **headers: str) -> Answer:
    fields = {
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): its for name, its in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return sends(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + body)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (floods, "more than 1,048,576 bytes"),
        (
            reply(gzip.compress(b" " * 2**26), Content_Encoding="gzip"),
            "compressed though asked not to be: 'gzip'",
        ),
        (reply(b"x", Content_Encoding="br"), "compressed though asked not to be: 'br'"),
        (reply(b"\xff{}", Content_Type="application/json; charset=utf-7"), "not the JSON asked for"),
        (reply(b"\xff", "500 no", Content_Type="text/html; charset=no-such-one"), r"HTTP 500: \xff"),
        (reply(b"{}" * 2**20, "500 no"), "HTTP 500: {}{}"),
        (sends(b"HTTP/9.9 what\r\n\r\n"), "RemoteProtocolError"),
        (sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "RemoteProtocolError"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "RemoteProtocolError"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{"), "RemoteProtocolError"),
        (reply(b"", "302 Found", Location="http://[::1"), "RemoteProtocolError: Invalid URL"),
    ],
)
def test_what_a_server_may_send_instead(
    server: JudgeServer, settings: JudgeSettings, answer: Answer, said: str
) -> None:
    """Its substitute takes over, unless a reply can be laid to the description: then nothing was told."""
    server.always, server.flooded = answer, 0
    judge = EndpointJudge(settings, LexicalJudge())
    assert judge.told("A dog runs.", EVENTS) in ([True, False], [False, False])
    (problem,) = judge.report().problems.values()
    assert said in problem
    assert server.flooded < 40 * ATTEMPTS, "megabytes in buffers of both sides, not 700"


def written_in_python(text: str) -> str:
    return repr(text)[1:-1]


def written_in_json(text: str) -> str:
    return json.dumps(text).replace("/", "\\/")


@pytest.mark.parametrize("code", [200, 401, 500])
@pytest.mark.parametrize(
    "written", [str, written_in_json, html.escape, written_in_python, lambda text: quote(text, safe=" ")]
)
def test_a_key_that_is_echoed_is_nowhere(
    server: JudgeServer,
    settings: JudgeSettings,
    written: Callable[[str], str],
    code: int,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.always = echoes(code, written)
    judge = EndpointJudge(settings, LexicalJudge())
    judge.told("A dog runs.", EVENTS)
    shown = [caplog.text, *judge.report().problems.values(), repr(judge.report()), repr(settings)]
    try:
        EndpointJudge(settings).told("It rains.", EVENTS)
    except EndpointError as error:
        shown += [*traceback.format_exception(error), repr(error)]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    for text in shown:
        assert "s3cret" not in text
    assert any("[the judge's key]" in text for text in shown)


def test_a_status_line_that_is_the_key(server: JudgeServer, settings: JudgeSettings) -> None:
    server.always = lambda server, handler: sends(handler.headers["Authorization"].encode() + b"\r\n\r\n")(
        server, handler
    )
    with pytest.raises(EndpointError) as caught:
        EndpointJudge(settings).told("A dog runs.", EVENTS)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert "[the judge's key]" in str(caught.value)


def test_a_slow_drip_of_headers_ends_in_time(server: JudgeServer, settings: JudgeSettings) -> None:
    def drip(server: JudgeServer, handler: object) -> None:
        while not server.closing.wait(0.02):
            try:
                handler.wfile.write(b"a")  # type: ignore[attr-defined]
            except OSError:
                return

    server.always = drip
    hasty = JudgeSettings(server.url, "m", settings.cache, requests_per_minute=60_000, timeout_s=0.2)
    started = time.monotonic()
    with pytest.raises(EndpointError, match=r"no answer within 0\.2 s"):
        EndpointJudge(hasty).told("A dog runs.", EVENTS)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("key", ["s3 cret", "s3\ncret", "s3cret\x00", "s3crét", "s3cret\u200b", "s3\tcret"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str, tmp_path: Path) -> None:
    for refuse in (clean_key, lambda its: JudgeSettings("http://h/v1", "m", str(tmp_path / "f"), its)):
        with pytest.raises(ValueError, match="white space, a control character") as caught:
            refuse(key)
        assert "s3" not in str(caught.value)


def test_white_space_around_a_key_is_left_out(tmp_path: Path) -> None:
    assert JudgeSettings("http://h/v1", "m", str(tmp_path / "f"), " s3cret\r\n").api_key == "s3cret"
    assert clean_key(" \n") == ""


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://me:s3cret@h/v1",
            "http://s3cret@h/v1",
            "http://h/v1?key=s3cret",
            "http://h/v1#s3cret",
            "http://h?",
        ),
        *(
            "http://h:99999/v1",
            "http://[::1/v1",
            "http:///v1",
            "http://h/v 1",
            "http://h\n/v1",
            "http://hé/v1",
        ),
        *("ftp://h/v1", "h:8000/v1", "http://:80/v1", "http://h:0/v1"),
    ],
)
def test_an_address_that_cannot_be_used_or_shows_a_secret(address: str, tmp_path: Path) -> None:
    problem = address_problem(address)
    assert problem
    with pytest.raises(ValueError, match="base_url") as caught:
        JudgeSettings(address, "m", str(tmp_path / "f"))
    assert "s3cret" not in problem + str(caught.value)


@pytest.mark.parametrize(
    "address", ["http://h/v1", "https://h.example:8000/v1/", "http://[::1]:80", "http://1.2.3.4"]
)
def test_an_address(address: str) -> None:
    assert address_problem(address) is None


def test_without_a_key_nothing_is_masked() -> None:
    assert masked("abc", "") == "abc"
    assert masked("abcABC", "abc") == "[the judge's key]" * 2
