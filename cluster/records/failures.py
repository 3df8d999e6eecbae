"""Why held-out prompts have no answer, or none that can be read: they count 0, and are told of by reason."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cluster.records.eval_records import EvalSample
from cluster.records.metrics import Text
from rewards import SPECS
from rewards.scoring import read_options

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_QUOTED = re.compile(": “[^”]*”")


class Failure(BaseModel):
    """Samples that failed for one reason.

    Attributes:
        kind: `unanswered`: there is no response; `unreadable`: something that was asked for cannot be read in it.
        reason: What is common to them, numbers written `N`.
        first: Id of the first of them, whose line has the reason in full.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["unanswered", "unreadable"]
    reason: Text
    count: int
    first: str


def failures(task: str, samples: Sequence[EvalSample], options: Mapping[str, Any]) -> list[Failure]:
    """What failed and why, the most frequent reason first.

    Args:
        options: Those of the task that its answers were read by.
    """
    wanted = {part.key for part in SPECS[task].parts(read_options(task, options))}
    found: dict[tuple[Literal["unanswered", "unreadable"], str], list[str]] = defaultdict(list)
    for sample in samples:
        if sample.score is None:
            found["unanswered", _common(sample)].append(sample.prompt.id)
        elif wanted - (sample.score.prediction or {}).keys():
            found["unreadable", _common(sample)].append(sample.prompt.id)
    listed = [
        Failure(kind=kind, reason=reason, count=len(ids), first=ids[0])
        for (kind, reason), ids in found.items()
    ]
    return sorted(listed, key=lambda failure: -failure.count)


def why_zero(sample: EvalSample) -> str | None:
    """Why a sample has no score, or a component of its score is 0."""
    return sample.problem or (sample.score.reason if sample.score else None)


def _common(sample: EvalSample) -> str:
    """The reason without what is this sample's alone: its clip, its id, numbers, what is quoted of it, what is said
    twice, and how parts that were read missed.
    """
    text = (sample.score.unread if sample.score else None) or why_zero(sample) or "no reason given"
    for own in (f"{sample.prompt.video}: ", f"prompt {sample.prompt.id}: ", sample.prompt.video):
        text = text.replace(own, "")
    text = _QUOTED.sub("", text)
    return "; ".join(dict.fromkeys(_parts(_NUMBER.sub("N", text))))


def _parts(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(";") if part.strip())
