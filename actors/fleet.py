"""Calls to actors that end: with all results, with the first failure, or at a deadline. Never with a hang."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from data.failures import describe_failure, missed_deadline


def collect(
    refs: Sequence[ray.ObjectRef], names: Sequence[str], what: str, deadline_s: float, advice: str = ""
) -> list[Any]:
    """Wait for all of `refs`.

    Args:
        refs: Pending results of actor calls.
        names: Name of the actor behind each.
        what: What they are doing, as a phrase: `scoring`.
        deadline_s: Longest wait for the last of them, in seconds.
        advice: What the reader of a failure can do.

    Returns:
        The results, in the order of `refs`.

    Raises:
        ActorFailure: the first that died or raised, or those that had not answered by the deadline.
    """
    pending = dict(zip(refs, names, strict=True))
    end = time.monotonic() + deadline_s
    while pending:
        ready, _ = ray.wait(list(pending), timeout=max(0.0, end - time.monotonic()))
        if not ready:
            raise missed_deadline(" and ".join(pending.values()), what, deadline_s, advice)
        result_of(ready[0], pending.pop(ready[0]), what, advice)
    return list(ray.get(list(refs)))


def call(
    actors: Mapping[str, Any], method: str, *arguments: Any, what: str, deadline_s: float, advice: str = ""
) -> dict[str, Any]:
    """Call one method on every actor at once; see `collect`. Returns the results by actor name."""
    refs = [getattr(actor, method).remote(*arguments) for actor in actors.values()]
    return dict(zip(actors, collect(refs, list(actors), what, deadline_s, advice), strict=True))


def result_of(ref: ray.ObjectRef, name: str, what: str, advice: str = "") -> Any:
    """The result of a call that has ended.

    Raises:
        ActorFailure: the call did not end well.
    """
    try:
        return ray.get(ref)
    except RayError as error:
        raise describe_failure(name, what, error, advice) from error


def stop(actors: Mapping[str, Any], deadline_s: float) -> None:
    """Let actors with a `shutdown` method end what they started, then end them, whatever state they are in."""
    goodbyes = [actor.shutdown.remote() for actor in actors.values() if hasattr(actor, "shutdown")]
    if goodbyes:
        ray.wait(goodbyes, num_returns=len(goodbyes), timeout=deadline_s)
    for actor in actors.values():
        ray.kill(actor)
