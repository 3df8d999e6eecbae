"""Scoring one response: a task, a response and a target in, a score out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import ValidationError

from rewards import strict
from rewards.judge import Judge, LexicalJudge
from rewards.result import Mode, Score, make_score, weighted_sum
from rewards.spec import Case, Choices, TaskOptions, TaskSpec
from rewards.targets import BadTarget, is_number
from rewards.tasks import SPECS, TASKS
from rewards.templates import TEMPLATES, Template, layout

MODES: tuple[Mode, ...] = ("strict", "paper")
LENGTH_BONUS = "length_bonus"


def score_response(
    task: str,
    response: str,
    target: Mapping[str, Any],
    *,
    duration: float | None = None,
    mode: Mode = "strict",
    template: Template = "thinking",
    options: Sequence[str] = (),
    num_options: int | None = None,
    tokens: int | None = None,
) -> Score:
    """Score one response by the task's default options and weights; arguments as for `Scorer`."""
    return _plain(task, mode, template).score(
        response, target, duration=duration, options=options, num_options=num_options, tokens=tokens
    )


class Scorer:
    """Scores the responses to one task's prompts.

    Args:
        task: One of `TASKS`.
        mode: `strict`, or `paper` for the behaviour of VideoChat-R1's released functions.
        template: How the prompt asked for the answer, which decides the order of the blocks.
        options: The task's options by name; those left out are at their defaults.
        weights: Weights of components in the total, 1 where none is given.
        judge: Decides which events a caption tells of.

    Raises:
        ValueError: an argument is unknown, or out of its range; the message names it.
    """

    def __init__(
        self,
        task: str,
        mode: Mode = "strict",
        template: Template = "thinking",
        options: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
        judge: Judge | None = None,
    ) -> None:
        arguments = (("task", task, TASKS), ("mode", mode, MODES), ("template", template, TEMPLATES))
        for name, value, known in arguments:
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        self._spec: TaskSpec[Any, Any] = SPECS[task]
        self._options = read_options(task, options or {})
        self._weights = dict(weights or {})
        self._judge = judge or LexicalJudge()
        self._parts = self._spec.parts(self._options)
        self._template, self._mode = template, mode
        self._layout = layout(list(dict.fromkeys(part.block for part in self._parts)), template)
        self._check()

    @property
    def components(self) -> tuple[str, ...]:
        """The components of its scores in order."""
        bonus = (LENGTH_BONUS,) if self._options.length_bonus else ()
        return ("format", *(part.component for part in self._parts), *bonus)

    def score(
        self,
        response: str,
        target: Mapping[str, Any],
        *,
        duration: float | None = None,
        options: Sequence[str] = (),
        num_options: int | None = None,
        tokens: int | None = None,
    ) -> Score:
        """Score one response. Whatever its text, this returns, in time linear in its length.

        A target, duration or number of options that makes no sense, or a response that is no string, gives 0 in
        every component, and the score's reason says why.

        Args:
            target: As docs/tasks.md has it for the task; times in seconds, boxes normalised to 0-1.
            duration: Length of the clip in seconds; strict mode clips predicted times to it where it is known.
            options: Answer texts of a choice question, in letter order.
            num_options: How many there are, where their texts are not known; unknown allows the letters A to Z.
            tokens: Length of the response; without it no length bonus is given.
        """
        if not isinstance(response, str):
            return self.zero(f"response must be a string, found {type(response).__name__}")
        try:
            check_duration(duration)
            truth = read_target(self._spec.name, target, options or num_options)
        except BadTarget as error:
            return self.zero(str(error))
        if self._mode == "paper" and self._spec.paper:
            score = self._paper_score(response, truth)
        else:
            case = Case(truth, duration, self._options, self._judge)
            score = strict.score(self._parts, self._layout, response, case, self._weights)
        return self._with_bonus(score, tokens) if self._options.length_bonus else score

    def zero(self, reason: str) -> Score:
        """The score of a sample that cannot be scored: 0 in every component."""
        return make_score(dict.fromkeys(self.components, 0.0), {}, [reason])

    def _check(self) -> None:
        """Refuse what would be ignored in silence."""
        for name, weight in self._weights.items():
            if name not in self.components:
                known = ", ".join(self.components)
                raise ValueError(f"{self._spec.name} has no component {name!r} to weigh; it has {known}")
            if not (is_number(weight) and weight >= 0):
                raise ValueError(f"the weight of {name} must be a number from 0, found {weight!r}")
        changed = self._options.model_dump(exclude_defaults=True).keys() - TaskOptions.model_fields.keys()
        if self._mode == "paper" and self._spec.paper and changed:
            raise ValueError(
                f"the paper's function for {self._spec.name} knows no {', '.join(sorted(changed))}"
            )

    def _paper_score(self, response: str, truth: Any) -> Score:
        assert self._spec.paper
        rewards, read = self._spec.paper(response.strip(), truth, self._template)
        prediction = {key: value for key, value in read.items() if value is not None}
        zeros = [self._paper_zero(name, prediction) for name, value in rewards.items() if value == 0.0]
        return make_score(rewards, prediction, zeros, self._weights)

    def _paper_zero(self, component: str, prediction: Mapping[str, Any]) -> str:
        """Released functions do not say why; what they read does."""
        if component == "format":
            return "the released function does not find the layout"
        key = next(part.key for part in self._parts if part.component == component)
        if key not in prediction:
            return f"{component}: the released function reads no {key}"
        return f"{component}: what the released function reads has nothing of the annotation"

    def _with_bonus(self, score: Score, tokens: int | None) -> Score:
        """Video-R1's reward for the wanted length (arXiv 2503.21776, section 3.3), to right responses only."""
        options = self._options
        fits = (
            tokens is not None
            and options.length_bonus_min_tokens <= tokens <= options.length_bonus_max_tokens
        )
        is_right = score.rewards[self._spec.main] > options.length_bonus_above
        bonus = options.length_bonus if fits and is_right else 0.0
        total = score.total + self._weights.get(LENGTH_BONUS, 1.0) * bonus
        return replace(score, rewards={**score.rewards, LENGTH_BONUS: bonus}, total=total)


def withhold_lonely_bonus(
    task: str,
    scores: Sequence[Score],
    options: Mapping[str, Any],
    weights: Mapping[str, float] | None = None,
) -> list[Score]:
    """The scores of one group, without length bonuses where fewer than two responses are right.

    Video-R1's released code gives the bonus to several right responses or to none: alone, it would tell a long right
    response from the wrong ones, which its accuracy does already.

    Args:
        scores: Of the group's responses, by a `Scorer` with these options and weights.
    """
    above = read_options(task, options).length_bonus_above
    is_lonely = sum(score.rewards[SPECS[task].main] > above for score in scores) < 2
    return [
        _without_bonus(score, weights) if is_lonely and score.rewards.get(LENGTH_BONUS) else score
        for score in scores
    ]


def _without_bonus(score: Score, weights: Mapping[str, float] | None) -> Score:
    rewards = {**score.rewards, LENGTH_BONUS: 0.0}
    return replace(score, rewards=rewards, total=weighted_sum(rewards, weights or {}))


@cache
def _plain(task: str, mode: Mode, template: Template) -> Scorer:
    return Scorer(task, mode, template)


def read_options(task: str, options: Mapping[str, Any]) -> TaskOptions:
    """A task's options by name, checked.

    Raises:
        ValueError: one is unknown or out of its range; the message names it.
    """
    try:
        return SPECS[task].options.model_validate(options)  # type: ignore[no-any-return]
    except ValidationError as error:
        details = [f"{'.'.join(map(str, e['loc'])) or 'options'}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{task}: {'; '.join(details)}") from error


def measured_options(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a task's options that decide what is asked and read; without those that only shape the reward."""
    return {name: value for name, value in options.items() if name not in SPECS[task].options.shaping}


def evaluation_options(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A task's options as evaluation scores by them: `measured_options`, with what its metrics need."""
    return {**measured_options(task, options), **SPECS[task].options.evaluated}


def read_target(task: str, target: object, choices: Choices = None) -> Any:
    """The checked target of a task: what its scoring compares with.

    Raises:
        BadTarget: a key is missing, its value has the wrong shape, a number is not finite, or the right
            letter is not among the options.
    """
    if not isinstance(target, Mapping):
        raise BadTarget(f"target must be an object, found {type(target).__name__}")
    return SPECS[task].read_truth(target, choices)


def check_duration(duration: object) -> None:
    """Accept a positive finite number of seconds, or None for an unknown duration.

    Raises:
        BadTarget: anything else.
    """
    if duration is not None and not (is_number(duration) and duration > 0):
        raise BadTarget(f"duration must be a positive number of seconds, found {duration!r:.40}")
