"""What a run trains on: which prompts are sampled, and which of their groups are learned from.

The loop samples prompts for a step, hands every group that comes of them to `admit`, and learns from those it gets
back. Whatever a curriculum remembers is in its state, so that a resumed run draws the same prompts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Protocol

from cluster.config import CurriculumSection, RunConfig
from cluster.inputs.difficulty import difficulty
from cluster.inputs.grades import read_difficulties
from cluster.inputs.prompt_mix import Draw, PromptMix
from cluster.training.groups import Group
from data.schema import VideoPrompt

# Weight of the newest group in a prompt's running difficulty: the policy changes, and so does what is hard for it.
NEWEST = 0.5


class Curriculum(Protocol):
    """Chooses prompts and groups."""

    def sample(self, step: int, count: int) -> list[Draw]:
        """The next `count` prompts for a step."""

    def admit(self, groups: Sequence[Group]) -> list[Group]:
        """Those of the groups worth an update. Called once for every group that was sampled."""

    def metrics(self) -> dict[str, float]:
        """What there is to know about the choices so far."""

    def state_dict(self) -> dict[str, Any]:
        """All that the next choices depend on; JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""


def make_curriculum(config: RunConfig, mix: PromptMix) -> Curriculum:
    """The curriculum that the configuration describes, at its beginning."""
    if config.curriculum.sampler == "in_order":
        return AdmissionGate(config, mix)
    return DifficultySampler(config, mix)


class AdmissionGate:
    """Prompts in the order of the mix; groups that are too stale or without a spread of rewards are turned away.

    A group whose rewards are all equal has no advantages (DAPO, arXiv 2503.14476, section 3.2). A KL penalty gives it
    a gradient all the same and lets it pass, unless others are to take its place (`grpo.dynamic_sampling`) or
    `curriculum.min_spread` says how much there must be.
    """

    def __init__(self, config: RunConfig, mix: PromptMix) -> None:
        self._config, self._mix = config, mix
        self._seen = self._admitted = 0

    def sample(self, step: int, count: int) -> list[Draw]:
        return self._mix.draw(step, count)

    def admit(self, groups: Sequence[Group]) -> list[Group]:
        admitted = [group for group in groups if self._is_fresh(group) and self._is_informative(group)]
        self._seen += len(groups)
        self._admitted += len(admitted)
        return admitted

    def metrics(self) -> dict[str, float]:
        return {"admitted": self._admitted / max(1, self._seen)}

    def state_dict(self) -> dict[str, Any]:
        return {"mix": self._mix.state_dict(), "seen": self._seen, "admitted": self._admitted}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._mix.load_state_dict(state["mix"])
        self._seen, self._admitted = state["seen"], state["admitted"]

    def _is_fresh(self, group: Group) -> bool:
        return group.staleness <= self._config.grpo.max_staleness

    def _is_informative(self, group: Group) -> bool:
        least, grpo = self._config.curriculum.min_spread, self._config.grpo
        if least is None and grpo.kl_coef > 0 and not grpo.dynamic_sampling:
            return True
        return group.spread > (least or 0.0)


class DifficultySampler(AdmissionGate):
    """Behind the same gate, prompts that are hard and can be solved come up more often than others.

    A prompt whose turn has come is taken with a chance that is Gaussian in its difficulty, after Time-R1 (arXiv
    2503.13377) and TimeLens (arXiv 2512.14698), which draw their data so once, before training; here its difficulty is
    a running one, from the responses that training samples anyway. Prompts passed over are replaced from the same
    dataset, so the mix keeps its shares. One not met yet is always taken, and none has a chance below the floor, so
    that what was too hard once is tried again.
    """

    def __init__(self, config: RunConfig, mix: PromptMix) -> None:
        super().__init__(config, mix)
        self._section = config.curriculum
        self._known = read_difficulties(config.data.grades) if config.data.grades else {}
        self._passed_over = 0

    def sample(self, step: int, count: int) -> list[Draw]:
        return self._mix.draw(step, count, self._is_wanted)

    def admit(self, groups: Sequence[Group]) -> list[Group]:
        for group in groups:
            self._learn(group)
        return super().admit(groups)

    def metrics(self) -> dict[str, float]:
        difficulties = list(self._known.values())
        return super().metrics() | {
            "prompts_known": len(difficulties),
            "prompts_passed_over": self._passed_over,
            "difficulty": fmean(difficulties) if difficulties else math.nan,
        }

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"known": dict(self._known), "passed_over": self._passed_over}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._known, self._passed_over = dict(state["known"]), state["passed_over"]

    def _learn(self, group: Group) -> None:
        prompt = group.rollout.prompt
        found = difficulty(prompt.task, group.scores)
        before = self._known.get(prompt.id, found)
        self._known[prompt.id] = before + NEWEST * (found - before)

    def _is_wanted(self, prompt: VideoPrompt, place: str) -> bool:
        known = self._known.get(prompt.id)
        if known is None or random.Random(f"{place}/wanted").random() < chance(known, self._section):
            return True
        self._passed_over += 1
        return False


def chance(difficulty: float, section: CurriculumSection) -> float:
    """How likely a prompt of this difficulty is taken when its turn has come; 1 at the target."""
    distance = (difficulty - section.target) / section.width
    return section.floor + (1 - section.floor) * math.exp(-(distance**2) / 2)
