"""The judge of captions in an evaluation: the constant answer goes by it too, and what it could not judge is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actors.caption_judge import EndpointJudge, QuestionNotes, make_judge
from cluster.config import RunConfig
from cluster.runtime.judge_access import judge_settings
from rewards import Baseline, Mode, constant_baseline


def judge_of(config: RunConfig) -> EndpointJudge | None:
    """The endpoint that judges captions; None for the lexical judge."""
    settings = judge_settings(config)
    return make_judge(settings) if settings else None


def judged_constant(
    task: str,
    items: Sequence[tuple[Mapping[str, Any], float | None]],
    mode: Mode,
    judge: EndpointJudge | None,
) -> Baseline:
    """The best constant answer, scored by the judge that scored the answers it stands beside; all questions at once.

    Raises:
        EndpointError: the judge cannot be used, and nothing is to take its place.
    """
    if judge is not None:
        questions = QuestionNotes()
        constant_baseline(task, items, mode, questions)
        judge.prepare(questions.take())
    return constant_baseline(task, items, mode, judge)


def judge_notes(of: str, unreadable: float, fallbacks: float) -> Iterator[str]:
    """What was not judged as asked for.

    Args:
        of: Of whose captions: `answers`.
    """
    if fallbacks:
        why = "the endpoint could not be used"
        yield f"{fallbacks:,.0f} questions about {of} went to the lexical judge, on another scale: {why}"
    if unreadable:
        yield f"{unreadable:,.0f} questions about {of} got no readable verdict: their events count as not told"
