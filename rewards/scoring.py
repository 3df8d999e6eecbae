"""The one entry point of scoring: a task, a response and a target in, a score out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards import paper, strict
from rewards.targets import BadTarget, is_number, read_target
from rewards.tasks import COMPONENTS, TASKS, Mode, Score, zero_score


def score_response(
    task: str,
    response: str,
    target: Mapping[str, Any],
    *,
    duration: float | None = None,
    mode: Mode = "strict",
    thinking: bool = True,
    num_options: int | None = None,
) -> Score:
    """Score one response. Whatever its text, this returns, in time linear in its length.

    A target, duration or number of options that makes no sense, or a response that is no string, gives 0 in
    every component, and the score's reason says why.

    Args:
        task: One of `TASKS`.
        target: `{"interval": [s, e]}`, `{"boxes": [[x0, y0, x1, y1], ...]}`, `{"answer": "C"}` or
            `{"answer": "C", "intervals": [[s, e], ...]}`; times in seconds, boxes normalised to 0-1.
        duration: Length of the clip in seconds; strict mode clips predicted times to it where it is known.
        mode: `strict`, or `paper` for the behaviour of VideoChat-R1's released functions.
        thinking: Whether the prompt asked for a `<think>` block before the answer.
        num_options: How many options the question has; unknown allows the letters A to Z.

    Raises:
        ValueError: the task or the mode is unknown: a mistake in the program, not in a response.
    """
    if task not in COMPONENTS:
        raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
    if mode not in ("strict", "paper"):
        raise ValueError(f"unknown mode {mode!r}; known: strict, paper")
    if not isinstance(response, str):
        return zero_score(task, f"response must be a string, found {type(response).__name__}")
    try:
        check_duration(duration)
        truth = read_target(task, target, num_options)
    except BadTarget as error:
        return zero_score(task, str(error))
    if mode == "paper":
        return paper.score(task, response, truth, thinking)
    return strict.score(task, response, truth, duration, thinking)


def check_duration(duration: object) -> None:
    """Accept a positive finite number of seconds, or None for an unknown duration.

    Raises:
        BadTarget: anything else.
    """
    if duration is not None and not (is_number(duration) and duration > 0):
        raise BadTarget(f"duration must be a positive number of seconds, found {duration!r:.40}")
