"""Waiting for a transfer in one thread while another one carries it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


def in_background(function: Callable[[], Result]) -> Future[Result]:
    """Run in a daemon thread: one that waits for a dead peer must not keep the process from ending."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whoever waits for the result raises it
            future.set_exception(error)

    Thread(target=run, daemon=True, name="weight-transfer").start()
    return future


def unless_it_fails(function: Callable[[], Result], failure: Future[Exception]) -> Result:
    """Run a function that would wait for a peer, however dead, and give it up when that peer's failure is known.

    NCCL waits in a broadcast for a receiver that has long raised; what it raised is what there is to report.

    Args:
        failure: Gets the peer's error as its result, if there is one.

    Raises:
        Exception: the peer's, or what the function itself raises.
    """
    running = in_background(function)
    either: list[Future[Any]] = [running, failure]
    wait(either, return_when=FIRST_COMPLETED)
    if failure.done():
        raise failure.result()
    return running.result()
