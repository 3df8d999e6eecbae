"""A chat-completions server for tests: real HTTP, and as much misbehaviour as is asked of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["JudgeServer", BaseHTTPRequestHandler], None]


class JudgeServer:
    """Finds an event told where the description holds its text; does what `script` says first, request by request.

    Attributes:
        requests: Bodies received, in order, each with its `Authorization` under `key`.
        busiest: Most requests that were there at a time.
        flooded: Megabytes that `floods` has sent.
    """

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.always: Answer = honest
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.busiest = self._present = self.flooded = 0
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self.url = ""

    @property
    def events(self) -> list[list[str]]:
        """The events of each request."""
        return [question(body)["events"] for body in self.requests]

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.requests.append({**body, "key": handler.headers.get("Authorization"), "path": handler.path})
            self.times.append(time.monotonic())
            self._present += 1
            self.busiest = max(self.busiest, self._present)
            answer = self.script.pop(0) if self.script else self.always
        handler.body = body  # type: ignore[attr-defined]
        try:
            answer(self, handler)
        finally:
            with self._lock:
                self._present -= 1


def question(body: dict[str, Any]) -> dict[str, Any]:
    """What the judge is asked, out of a request."""
    return dict(json.loads(body["messages"][-1]["content"]))


def send(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def says(text: str) -> Answer:
    """A model that says this, whatever it is asked."""
    message = {"choices": [{"message": {"role": "assistant", "content": text}}]}
    return lambda server, handler: send(handler, 200, json.dumps(message).encode())


def verdicts(*each: str) -> Answer:
    return says(json.dumps({"verdicts": each}))


def honest(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    asked = question(handler.body)  # type: ignore[attr-defined]
    told = ["entailed" if event in asked["description"] else "missing" for event in asked["events"]]
    verdicts(*told)(server, handler)


def gathering(number: int) -> Answer:
    """Answers once so many requests are there at a time, and leaves one more the time to show."""

    def answer(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
        end = time.monotonic() + 30
        while server.busiest < number and time.monotonic() < end:
            server.closing.wait(0.01)
        server.closing.wait(0.1)
        honest(server, handler)

    return answer


def status(code: int, **headers: str) -> Answer:
    return lambda server, handler: send(handler, code, b"no", **headers)


def garbage(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, b"<html>{not json")


def hang(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    server.closing.wait(60)


def trickle(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no single read ever takes long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while not server.closing.wait(0.02):
        try:
            handler.wfile.write(b" ")
            handler.wfile.flush()
        except OSError:
            return


def sends(reply: bytes) -> Answer:
    """Exactly these bytes, and the end of the connection."""

    def answer(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(reply)
        handler.close_connection = True

    return answer


def echoes(code: int, written: Callable[[str], str] = str) -> Answer:
    """The Authorization header in the body and in the reason of the status, as `written` has it."""

    def answer(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
        text = written(handler.headers["Authorization"])
        handler.send_response(code, text)
        body = f"bad credentials: {text}; {'x' * 180}{text}".encode()
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def floods(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    """Megabytes until the other side hangs up, counted in `flooded`."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while not server.closing.is_set() and server.flooded < 700:
            handler.wfile.write(b" " * 2**20)
            server.flooded += 1


def hang_up(server: JudgeServer, handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


@contextmanager
def serving() -> Iterator[JudgeServer]:
    """A running server."""
    server = JudgeServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            server.handle(self)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.handle_error = lambda request, address: None  # type: ignore[method-assign]
    server.url = f"http://127.0.0.1:{http.server_port}/v1"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        http.shutdown()
        http.server_close()
