"""The caption judge behind an endpoint: many descriptions at a time, each question once, and an end to everything."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actors.judge_endpoint import EVENTS_PER_REQUEST, Endpoint, JudgeSettings
from actors.judge_reply import BudgetSpent, EndpointError, UnreadableAnswer
from actors.judge_store import JudgeStore
from rewards.judge import Judge, LexicalJudge

Question = tuple[tuple[str, ...], str]
"""Which of these events does the description tell of?"""


@dataclass(frozen=True)
class JudgeReport:
    """What a judge has done since its start.

    Attributes:
        requests: Attempts that `JudgeSettings.max_requests` counts, those of other workers and earlier runs on the same
            file included.
        cached: Questions that the file answered.
        unreadable: Questions that the model gave no readable answer to; their events count as not told.
        fallbacks: Descriptions that the judge's substitute judged.
        problems: What kept the judge from judging, in words: the latest of each kind.
    """

    requests: int = 0
    cached: int = 0
    unreadable: int = 0
    fallbacks: int = 0
    problems: Mapping[str, str] = field(default_factory=dict)


class EndpointJudge:
    """A `rewards.judge.Judge` that asks a language model what a description tells of.

    It does not ask for the events of a reference without any: those are the lexical judge's clauses, so that all judges
    of a run, and the constant answer that results are compared with, look for the same events.

    Questions are best announced to `prepare`, which asks them all at once. When the endpoint fails beyond its retries
    or the budget is spent, the rest of that batch is not even tried.

    Args:
        substitute: Judges where the endpoint cannot; None makes that an error.
    """

    def __init__(self, settings: JudgeSettings, substitute: Judge | None = None) -> None:
        self._settings, self._substitute = settings, substitute
        self._splitter = LexicalJudge()
        self._store = JudgeStore(Path(settings.cache))
        self._endpoint = Endpoint(settings, self._spend)
        self._slots = asyncio.Semaphore(settings.concurrency)
        # One event loop for life: connections and the rate limit outlast a batch.
        self._runner = asyncio.Runner()
        self._answers: dict[Question, list[bool]] = {}
        self._failure: EndpointError | None = None
        self._counts: Counter[str] = Counter()
        self._spent = 0
        self._problems: dict[str, str] = {}

    def events(self, caption: str) -> list[str]:
        """The clauses of a reference."""
        return self._splitter.events(caption)

    def told(self, description: str, events: Sequence[str]) -> list[bool]:
        """For each event whether the description tells of it.

        Raises:
            EndpointError: as `prepare`.
        """
        question = (tuple(events), description)
        if question not in self._answers:
            self._answer([question])
        return self._answers[question]

    def prepare(self, questions: Iterable[Question]) -> None:
        """Answer these questions at once; those of the batch before are forgotten.

        Raises:
            EndpointError: the endpoint fails or the budget is spent, and there is no substitute.
        """
        self._answers = {}
        self._answer(list(dict.fromkeys(questions)))

    def report(self) -> JudgeReport:
        """Counters since the start."""
        try:
            self._spent = self._store.spent
        except EndpointError as error:
            # The substitute has taken over by then, and a report must not end what it keeps going.
            self._problems["JudgeStore"] = str(error)
        problems = self._problems | ({"JudgeStore": self._store.problem} if self._store.problem else {})
        return JudgeReport(requests=self._spent, problems=problems, **self._counts)

    def _answer(self, questions: Sequence[Question]) -> None:
        self._failure = None
        for question, found in zip(questions, self._runner.run(self._ask_all(questions)), strict=True):
            if isinstance(found, EndpointError):
                found = self._judge_otherwise(question, found)
            elif isinstance(found, BaseException):
                raise found
            self._answers[question] = found

    async def _ask_all(self, questions: Sequence[Question]) -> list[list[bool] | BaseException]:
        asked = (self._ask(events, caption) for events, caption in questions)
        # With the exceptions among the results no request outlives the batch.
        return await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, events: Sequence[str], caption: str) -> list[bool]:
        """One description, so many events at a time."""
        if not caption.strip():
            return [False] * len(events)
        verdicts: list[bool] = []
        for start in range(0, len(events), EVENTS_PER_REQUEST):
            verdicts += await self._ask_part(events[start : start + EVENTS_PER_REQUEST], caption)
        return verdicts

    async def _ask_part(self, events: Sequence[str], caption: str) -> list[bool]:
        known = self._store.get(self._endpoint.body(events, caption), len(events))
        if known is not None:
            self._counts["cached"] += 1
            return known
        async with self._slots:
            return await self._ask_endpoint(events, caption)

    async def _ask_endpoint(self, events: Sequence[str], caption: str) -> list[bool]:
        if self._failure is not None:
            raise self._failure
        try:
            verdicts = await self._endpoint.ask(events, caption)
        except UnreadableAnswer as error:
            # A description that confuses the judge must not end the run, nor gain by it.
            self._note("unreadable", error, "these events count as not told")
            return [False] * len(events)
        except EndpointError as error:
            self._failure = error
            raise
        self._store.put(self._endpoint.body(events, caption), verdicts)
        return verdicts

    def _judge_otherwise(self, question: Question, error: EndpointError) -> list[bool]:
        if self._substitute is None:
            raise EndpointError(f"{self._where} cannot be used: {error}") from error
        self._note("fallbacks", error, "the lexical judge takes its place")
        events, description = question
        return list(self._substitute.told(description, events))

    def _note(self, what: str, error: EndpointError, consequence: str) -> None:
        self._counts[what] += 1
        self._problems[type(error).__name__] = f"{self._where} cannot be used: {error}; {consequence}"

    def _spend(self) -> None:
        most = self._settings.max_requests
        if not self._store.spend(most):
            raise BudgetSpent(f"its budget is spent: {most} requests (judge.max_requests)")

    @property
    def _where(self) -> str:
        return f"the judge {self._settings.model} at {self._settings.base_url}"


class QuestionNotes(LexicalJudge):
    """A `Judge` that finds nothing told and notes what it was asked, for `EndpointJudge.prepare`."""

    def __init__(self) -> None:
        self._asked: list[Question] = []

    def told(self, description: str, events: Sequence[str]) -> list[bool]:
        self._asked.append((tuple(events), description))
        return [False] * len(events)

    def take(self) -> list[Question]:
        """What was asked since this was called last."""
        asked, self._asked = self._asked, []
        return asked


def make_judge(settings: JudgeSettings) -> EndpointJudge:
    """The judge with the substitute that its settings name."""
    return EndpointJudge(settings, LexicalJudge() if settings.fallback == "lexical" else None)
