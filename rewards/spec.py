"""What a task is made of. A file in `rewards/tasks/` fills one `TaskSpec`; everything else reads it from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from rewards.judge import Judge
from rewards.measures import Metric
from rewards.templates import Template

Choices = Sequence[str] | int | None
"""The options of a question, or how many there are, or None where that is not known."""

T = TypeVar("T")
O = TypeVar("O", bound="TaskOptions")  # noqa: E741


class Question(Protocol):
    """A prompt as its task sees it: `data.schema.VideoPrompt` is one."""

    @property
    def question(self) -> str:
        """What is asked, without any instruction."""

    @property
    def target(self) -> Mapping[str, Any]:
        """The annotation."""

    @property
    def duration(self) -> float | None:
        """Length of the clip in seconds, where it is known."""

    @property
    def options(self) -> Sequence[str]:
        """Answer texts of a choice question."""

    @property
    def box_frames(self) -> Sequence[int]:
        """Frame index in the source video of each box of a track."""

    @property
    def box_times(self) -> Sequence[float]:
        """When each box of a track is, in seconds from the first, where it is known."""


class TaskOptions(BaseModel):
    """Options of every task; `reward.options.<task>` in YAML. A task adds its own by a subclass."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    # What shapes a reward and changes neither the question nor what is read of an answer: benchmarks leave it out.
    shaping: ClassVar[frozenset[str]] = frozenset(
        {"length_bonus", "length_bonus_min_tokens", "length_bonus_max_tokens", "length_bonus_above"}
    )

    # What only metrics need, by name: benchmarks switch it on.
    evaluated: ClassVar[Mapping[str, Any]] = {}

    length_bonus: float = Field(
        0.0,
        ge=0,
        description="Reward added to right responses of the wanted length, where a group has more than one right "
        "response; 0 adds none. No unit.",
    )
    length_bonus_min_tokens: int = Field(320, ge=0, description="Shortest response that earns it, tokens.")
    length_bonus_max_tokens: int = Field(512, ge=1, description="Longest response that earns it, tokens.")
    length_bonus_above: float = Field(
        0.1, ge=0, lt=1, description="A response is right where its main component is above this, 0-1."
    )


class Case(NamedTuple, Generic[T, O]):
    """What one answer is read and measured by.

    Attributes:
        truth: The checked target.
        duration: Length of the clip in seconds; None where it is unknown.
        judge: Decides which events a description tells of.
    """

    truth: T
    duration: float | None
    options: O
    judge: Judge


@dataclass(frozen=True)
class Part(Generic[T, O]):
    """One thing a task asks for: the block it stands in, how it is read and how it is measured.

    Attributes:
        key: Name of what is read, the same as in a target.
        component: The reward component it gives.
        read: From the block's content; raises `Unreadable`.
        measure: Value in [0, 1] of what was read.
        zero: What it means when the measure is 0; a function of what was read where that can be several things.
        reported: Whether what was read is kept as the prediction: JSON could not hold an infinite end, for instance.
    """

    block: str
    key: str
    component: str
    read: Callable[[str, Case[T, O]], Any]
    measure: Callable[[Any, Case[T, O]], float]
    zero: str | Callable[[Any, Case[T, O]], str]
    reported: Callable[[Any], bool] | None = None

    def why_zero(self, value: Any, case: Case[T, O]) -> str:
        """What it means that the measure of what was read is 0, in words."""
        return self.zero if isinstance(self.zero, str) else self.zero(value, case)


class PaperScore(NamedTuple):
    """What a released function gives: components, and what was read."""

    rewards: dict[str, float]
    prediction: dict[str, Any]


class Constant(NamedTuple):
    """The best constant answer: in words, and for every item the content of each block."""

    description: str
    answers: Sequence[Mapping[str, str]]


Items = Sequence[tuple[T, float | None]]
"""Truth and duration in seconds of the samples that a constant answer is fitted to."""

Trivial = Mapping[str, Sequence[Sequence[Mapping[str, str]]]]
"""Answers fitted to nothing, by name: for every item those that are equally likely, each the content of each block."""


@dataclass(frozen=True)
class TaskSpec(Generic[T, O]):
    """One task.

    Attributes:
        name: As annotations and configurations have it.
        title: As reports have it.
        main: The component quoted as "the" result of the task.
        parts: What is asked for, given the options; those of the defaults make the task's components.
        read_truth: The checked target; judges its shape alone. Raises `BadTarget`.
        problem: Why a prompt cannot be used, or None. Judges values too: what passes passes `read_truth`.
        ask: The question, without how to answer it.
        answer: How to answer, with the tags, as the object of "give" and with a full stop.
        solution: The annotated answer as a response would have it, given the options: the content of each block.
        baseline: The best constant answer.
        trivial: What anyone would answer without a look at the video or at other targets; may be none.
        metrics: What benchmarks are quoted in, the main one first.
        options: The task's options.
        paper: Components by VideoChat-R1's released function, from the stripped response. None where there is none:
            the task is then scored strictly in paper mode too.
    """

    name: str
    title: str
    main: str
    parts: Callable[[O], tuple[Part[T, O], ...]]
    read_truth: Callable[[Mapping[str, Any], Choices], T]
    problem: Callable[[Question], str | None]
    ask: Callable[[Question], str]
    answer: Callable[[Question, O], str]
    solution: Callable[[T, O], Mapping[str, str]]
    baseline: Callable[[Items[T]], Constant]
    metrics: tuple[Metric, ...]
    options: type[O]
    trivial: Callable[[Items[T]], Trivial] = lambda items: {}
    paper: Callable[[str, T, Template], PaperScore] | None = None

    @property
    def components(self) -> tuple[str, ...]:
        """The reward components in order."""
        return ("format", *(part.component for part in self.parts(self.options())))
