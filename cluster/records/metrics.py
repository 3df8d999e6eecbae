"""What a run measures: a typed record per optimizer step and per sampled response, and their scalars.

A number that is not finite becomes None when the record is made, so every record is valid JSON.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def finite_or_none(value: Any) -> Any:
    """The value, or None when it is a NaN or infinite float."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(finite_or_none)]
"""A measured number; None means not measured, or measured as NaN or infinite."""


def encodable(text: Any) -> Any:
    """The text with lone surrogates, which UTF-8 cannot hold, turned into question marks."""
    return text.encode("utf-8", "replace").decode("utf-8") if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(encodable)]
"""Text of any origin, a response for instance."""


class Stage(StrEnum):
    """The two stages that take optimizer steps."""

    COLD_START = "cold_start"
    GRPO = "grpo"


class Record(BaseModel):
    """A line of one of the run's JSONL files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int = Field(ge=0, description="optimizer step, counted from 1 in each stage; 0 is before the first")


class TaskRewards(BaseModel):
    """Rewards of one task's responses in a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reward: Number = Field(description="mean total reward")
    components: dict[str, Number] = Field(description="mean of each reward component, each in 0-1")
    responses: int = Field(ge=0, description="how many responses the means are over")


class PerStage(BaseModel):
    """One figure (seconds or tokens) for each stage of the way of a prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decode: Number = None
    rollout: Number = None
    reward: Number = None
    learn: Number = None
    sync: Number = None
    total: Number = None


class StepRecord(Record):
    """Everything measured in one optimizer step. What does not apply, the cold start's KL say, is unset."""

    stage: Stage = Stage.GRPO
    weight_version: int = Field(0, description="version of the policy's weights after this step")
    tasks: dict[str, TaskRewards] = Field(default_factory=dict)

    loss: Number = None
    kl: Number = Field(None, description="mean KL to the reference policy in nats; unset without one")
    entropy: Number = Field(None, description="mean entropy of the policy per response token, nats")
    grad_norm: Number = Field(None, description="gradient norm before clipping")
    learning_rate: Number = None
    clip_fraction: Number = Field(
        None, description="share of response tokens with a clipped importance ratio"
    )

    rank_imbalance: Number = Field(
        None, description="planned work of the heaviest learner rank over that of the lightest"
    )

    mismatch: Number = Field(None, description="mean exp|logp_rollout - logp_learner| over response tokens")
    staleness_mean: Number = Field(None, description="learner version minus behaviour version, mean")
    staleness_max: Number = None

    response_length_mean: Number = Field(None, description="tokens")
    response_length_max: Number = Field(None, description="tokens")
    truncated_share: Number = Field(None, description="share of responses that ended at the length limit")

    groups_dropped: int = Field(0, description="groups left out: all rewards equal, or too stale")
    clips_skipped: int = Field(0, description="prompts skipped in this step: their clip or length")
    clips_quarantined: int = Field(0, description="clips quarantined so far in the run")
    rewards_failed: int = Field(0, description="responses whose reward function raised or gave NaN")
    order_bonus_share: Number = Field(
        None, description="share of the groups with a shuffled one beside them that earned the order bonus"
    )
    accuracy_ordered: Number = Field(None, description="mean accuracy of these groups, 0-1")
    accuracy_shuffled: Number = Field(None, description="mean accuracy on their shuffled frames, 0-1")
    judge_requests: Number = Field(None, description="requests to the judge of captions so far, retries too")
    judge_unreadable: Number = Field(None, description="its answers so far that held no verdicts")
    judge_fallbacks: Number = Field(
        None, description="captions so far that the lexical judge had to take over"
    )
    curriculum: dict[str, Number] = Field(
        default_factory=dict,
        description="what the curriculum says of itself; see `cluster/training/curriculum.py`",
    )
    cache_hit_rate: Number = Field(None, description="share of clip requests served from the cache")

    features_found: Number = Field(
        None, description="groups that the present rollout workers sampled from a frozen tower's features"
    )

    seconds: PerStage = PerStage()
    tokens: PerStage = PerStage()
    driver_rss_gib: Number = Field(None, description="resident memory of the driver process, GiB")
    host_used_gib: Number = Field(None, description="memory in use on the driver's host, GiB")


class SampleRecord(Record):
    """One sampled response with what became of it."""

    prompt_id: str
    task: str
    index: int = Field(ge=0, description="position in its group")
    response: Text
    rewards: dict[str, Number]
    total: Number
    reason: Text | None = Field(None, description="why a reward component is 0, when it is")
    weight_versions: list[tuple[int, int, int]] = Field(description="(start, end, version) over its tokens")
    finish_reason: str = ""
    tokens: int = 0
    starts_at: float = Field(
        0.0, description="when the clock of the response's times starts on the clip's, seconds"
    )
    advantage: Number = Field(None, description="unset where the group was not learned from")


@dataclass(frozen=True)
class Scalar:
    """One number of a step under the name and tags that wandb and Prometheus know it by."""

    name: str
    value: float
    task: str = ""
    component: str = ""

    @property
    def key(self) -> str:
        """Slash-separated path, e.g. `reward/tracking/iou`."""
        return "/".join(part for part in (self.name, self.task, self.component) if part)


def scalars(record: StepRecord) -> list[Scalar]:
    """Every measured number of a step; unset ones are left out."""
    found = [Scalar("step", record.step)]
    for task, rewards in record.tasks.items():
        components = {"total": rewards.reward, **rewards.components}
        found += [Scalar("reward", v, task, name) for name, v in components.items() if v is not None]
    for name in ("seconds", "tokens"):
        stages = getattr(record, name).model_dump(exclude_none=True)
        found += [Scalar(name, value, component=stage) for stage, value in stages.items()]
    its = record.curriculum
    found += [Scalar("curriculum", value, component=name) for name, value in its.items() if value is not None]
    apart = {"step", "stage", "tasks", "seconds", "tokens", "curriculum"}
    plain = record.model_dump(exclude=apart, exclude_none=True)
    return found + [Scalar(name, value) for name, value in plain.items()]
