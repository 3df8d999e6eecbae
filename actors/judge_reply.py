"""What a server answers: as much of it as is read, what it says, and what is wrong with it."""

from __future__ import annotations

from typing import Literal

import httpx
from pydantic import BaseModel, ValidationError

# 2,048 tokens of an answer are some 20 KB; a server that sends more than this sends something else.
MAX_BODY_BYTES = 2**20
# Too slow, in conflict, too many: as passing as the server's own errors from 500 on.
PASSING_STATUS = (408, 409, 429)
# Of a body that is not as asked for, characters shown.
GLANCE = 200


class EndpointError(RuntimeError):
    """The endpoint cannot be used; the message says why."""


class BudgetSpent(EndpointError):
    """There are no requests left to spend."""


class PassingError(EndpointError):
    """It may be usable a moment later.

    Attributes:
        pause_s: How long the server asks to wait, seconds.
    """

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class UnreadableAnswer(PassingError):
    """The model answered, but not with one verdict per event."""


class _Verdicts(BaseModel):
    verdicts: list[Literal["entailed", "contradicted", "missing"]]


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message


class _Completion(BaseModel):
    choices: list[_Choice]


async def read_body(response: httpx.Response) -> bytes:
    """The body of a response that is being streamed, of an error at most 1 MiB of it.

    Raises:
        PassingError: it is compressed, which was not asked for and may grow without bound, or longer than 1 MiB.
        httpx.HTTPError: the connection fails.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise PassingError(
            f"HTTP {response.status_code}, compressed though asked not to be: {coding[:GLANCE]!a}"
        )
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            if response.status_code == httpx.codes.OK:
                raise PassingError(f"an answer of more than {MAX_BODY_BYTES:,} bytes")
            break
    return bytes(body[:MAX_BODY_BYTES])


def check_status(response: httpx.Response, shown: str) -> None:
    """Raise what a status other than 200 means.

    Args:
        shown: What the message shows of the body.

    Raises:
        PassingError: another attempt may be answered.
        EndpointError: none will.
    """
    status = response.status_code
    problem = f"HTTP {status}: {shown}"
    if status in PASSING_STATUS or status >= 500:
        raise PassingError(problem, _asked_pause(response.headers.get("retry-after", "")))
    if status != httpx.codes.OK:
        raise EndpointError(problem)


def read_verdicts(body: bytes, count: int, shown: str = "") -> list[bool]:
    """The verdicts in a server's answer; the JSON may stand after reasoning or in a code block.

    Args:
        shown: What a message shows of the body.

    Raises:
        UnreadableAnswer: it is no chat completion, or does not hold `count` verdicts.
    """
    try:
        completion = _Completion.model_validate_json(body)
        text = (completion.choices[0].message.content if completion.choices else None) or ""
        verdicts = _Verdicts.model_validate_json(text[text.rfind("{") : text.rfind("}") + 1]).verdicts
    # A text may hold half of a surrogate pair, which cannot be handed on.
    except (ValidationError, UnicodeError):
        # Without its cause, which quotes the body: it may hold the key.
        raise UnreadableAnswer(f"not the JSON asked for: {shown}") from None
    if len(verdicts) != count:
        raise UnreadableAnswer(f"{len(verdicts)} verdicts for {count} events")
    return [verdict == "entailed" for verdict in verdicts]


def _asked_pause(retry_after: str) -> float:
    """Seconds in a `Retry-After` header; 0 for a date, which the back-off replaces."""
    return float(retry_after) if retry_after.isdecimal() else 0.0
