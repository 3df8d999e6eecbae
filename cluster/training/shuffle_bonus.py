"""T-GRPO's bonus for looking at the order of frames (Video-R1, arXiv 2503.21776).

Beside a group on the clip, half a group is sampled on the clip with its frames shuffled. Where the policy does no worse
in order, its right responses in order gain a bonus; the others are never trained on. The paper and the released code
differ in what they compare:

- `paper`: the shares of right responses, p >= p~. It defines right for answers that are right or wrong; one with a
  score between, an IoU for instance, is taken to be right from 0.5 on, where a moment counts as found.
- `code`: the mean scores, p >= 0.8 p~, and every response with a score above 0.1 counts as right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal

from actors.rollout_fleet import RolloutRequest, Submitted
from cluster.config import RunConfig
from cluster.runtime.system import System
from data.schema import Task
from rewards import MAIN_COMPONENT, Score


@dataclass(frozen=True)
class Form:
    """Who earns the bonus.

    Attributes:
        is_right: Of a response's main component, 0-1.
        accuracy: Of the main components of a group.
        ratio: The least ordered accuracy, as a multiple of the shuffled one.
    """

    is_right: Callable[[float], bool]
    accuracy: Callable[[Sequence[float]], float]
    ratio: float


def _right_from_half(value: float) -> bool:
    return value >= 0.5


FORMS: dict[Literal["paper", "code"], Form] = {
    "paper": Form(_right_from_half, lambda values: fmean(map(_right_from_half, values)), 1.0),
    "code": Form(lambda value: value > 0.1, fmean, 0.8),
}


@dataclass(frozen=True)
class OrderBonus:
    """How a policy did on one clip in order and shuffled.

    Attributes:
        ordered, shuffled: Accuracies, 0-1.
        bonuses: What each response in order gains.
    """

    ordered: float
    shuffled: float
    bonuses: list[float]


def order_bonus(ordered: Sequence[float], shuffled: Sequence[float], form: Form, size: float) -> OrderBonus:
    """Compare the main components of both groups' responses."""
    before, after = form.accuracy(ordered), form.accuracy(shuffled)
    earned = before >= form.ratio * after
    bonuses = [size if earned and form.is_right(value) else 0.0 for value in ordered]
    return OrderBonus(before, after, bonuses)


def score_order(
    task: Task, ordered: Sequence[Score], shuffled: Sequence[Score], config: RunConfig
) -> OrderBonus:
    """`order_bonus` of the scores of one prompt."""
    main = MAIN_COMPONENT[task]
    return order_bonus(
        [score.rewards[main] for score in ordered],
        [score.rewards[main] for score in shuffled],
        FORMS[config.reward.shuffle_form],
        config.reward.shuffle_bonus[task],
    )


def submit_with_shuffled(
    system: System, requests: Sequence[RolloutRequest], config: RunConfig, together: bool
) -> list[tuple[Submitted, Submitted | None]]:
    """Submit groups; each with its group on shuffled frames where its task has the bonus."""
    tasks = config.reward.shuffle_bonus
    shuffled = {
        number: on_shuffled_frames(request)
        for number, request in enumerate(requests)
        if request.prompt.task in tasks
    }
    submitted = system.submit([*requests, *shuffled.values()], together)
    beside = dict(zip(shuffled, submitted[len(requests) :], strict=True))
    return [(group, beside.get(number)) for number, group in enumerate(submitted[: len(requests)])]


def on_shuffled_frames(request: RolloutRequest) -> RolloutRequest:
    """The same request for half as many responses; the group's seed decides the order of the frames."""
    sampling = replace(request.sampling, group_size=max(1, request.sampling.group_size // 2))
    return replace(request, sampling=sampling, shuffle_seed=request.sampling.seed)
