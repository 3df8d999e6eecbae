"""Calling all learner ranks at once: all answer in time, or the first failure is reported by name."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from data.failures import describe_failure, missed_deadline

ADVICE = "The other ranks wait for it and cannot go on: resume the run from the last checkpoint."


def call_all(
    actors: Mapping[str, Any], method: str, calls: Sequence[tuple[Any, ...]], what: str, deadline_s: float
) -> list[Any]:
    """Call `method` on every actor and wait for all answers.

    Args:
        actors: Handles by name.
        calls: Arguments of each actor's call, in the same order.
        what: What the actors are doing, for error messages.
        deadline_s: Longest wait in seconds.

    Raises:
        ActorFailure: an actor died, raised, or did not answer in time. Does not wait for the others: a rank
            that is stuck in a collective with the failed one would never answer.
    """
    references = [
        getattr(actor, method).remote(*arguments)
        for actor, arguments in zip(actors.values(), calls, strict=True)
    ]
    waiting = dict(zip(references, actors, strict=True))
    end = time.monotonic() + deadline_s
    while waiting:
        ready, _ = ray.wait(list(waiting), timeout=max(0.0, end - time.monotonic()))
        if not ready:
            raise missed_deadline(" and ".join(waiting.values()), what, deadline_s, ADVICE)
        name = waiting.pop(ready[0])
        try:
            ray.get(ready[0])
        except RayError as error:
            raise describe_failure(name, what, error, ADVICE) from error
    answers: list[Any] = ray.get(references)
    return answers
