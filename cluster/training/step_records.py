"""Fills the records of a step from what the loop holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from cluster.records.metrics import PerStage, SampleRecord, Stage, StepRecord, TaskRewards
from cluster.records.run_facts import host_memory_gib
from cluster.runtime.system import System
from cluster.training.experience import Taken
from cluster.training.groups import Group
from learner.report import StepReport
from rewards import Score


def step_record(
    step: int,
    system: System,
    taken: Taken,
    admitted: Sequence[Group],
    report: StepReport | None,
    sync_seconds: float,
    total_seconds: float,
    curriculum: Mapping[str, float],
) -> StepRecord:
    """The record of one GRPO step; without a report there was no update."""
    responses = [response for group in taken.groups for response in group.rollout.responses]
    lengths = [len(response.token_ids) for response in responses]
    clips = system.clips.metrics()
    prompt_tokens = sum(len(group.rollout.prompt_token_ids) for group in taken.groups)
    rss, used = host_memory_gib()
    return StepRecord(
        step=step,
        stage=Stage.GRPO,
        weight_version=system.version,
        tasks=task_rewards(taken.groups),
        loss=report.loss if report else None,
        kl=report.kl if report and report.sums.kl else None,
        entropy=report.entropy if report else None,
        grad_norm=report.grad_norm if report else None,
        learning_rate=report.learning_rate if report else None,
        clip_fraction=report.clipped_fraction if report else None,
        rank_imbalance=report.imbalance if report else None,
        mismatch=report.mismatch if report else None,
        staleness_mean=fmean(group.staleness for group in taken.groups),
        staleness_max=max(group.staleness for group in taken.groups),
        response_length_mean=fmean(lengths),
        response_length_max=max(lengths),
        truncated_share=fmean(response.finish_reason == "length" for response in responses),
        groups_dropped=len(taken.groups) - len(admitted),
        clips_skipped=taken.skipped,
        clips_quarantined=int(clips["quarantined"]),
        curriculum=dict(curriculum),
        rewards_failed=sum(failed(score) for group in taken.groups for score in group.scores),
        **order_metrics(taken.groups),
        **system.rewards.metrics(),
        cache_hit_rate=clips["hits"] / max(1.0, clips["hits"] + clips["misses"]),
        features_found=system.features_found(),
        seconds=PerStage(
            **taken.seconds,
            learn=sum(report.seconds.values()) if report else 0.0,
            sync=sync_seconds,
            total=total_seconds,
        ),
        tokens=PerStage(
            rollout=sum(lengths),
            learn=report.tokens if report else 0,
            total=prompt_tokens + sum(lengths),
        ),
        driver_rss_gib=rss,
        host_used_gib=used,
    )


def order_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """How the policy did with frames in order and shuffled; nothing where no task has the bonus."""
    found = [group.order for group in groups if group.order]
    if not found:
        return {}
    return {
        "order_bonus_share": fmean(any(order.bonuses) for order in found),
        "accuracy_ordered": fmean(order.ordered for order in found),
        "accuracy_shuffled": fmean(order.shuffled for order in found),
    }


def task_rewards(groups: Sequence[Group]) -> dict[str, TaskRewards]:
    """Mean reward and components of each task among the groups."""
    return task_rewards_of([(str(g.rollout.prompt.task), score) for g in groups for score in g.scores])


def task_rewards_of(scores: Iterable[tuple[str, Score]]) -> dict[str, TaskRewards]:
    """The same for scores that come with the name of their task."""
    by_task: dict[str, list[Score]] = defaultdict(list)
    for task, score in scores:
        by_task[task].append(score)
    return {task: _means(its) for task, its in sorted(by_task.items())}


def sample_records(step: int, groups: Sequence[Group]) -> Iterator[SampleRecord]:
    """One record per response."""
    for group in groups:
        prompt = group.rollout.prompt
        advantages: Sequence[float | None] = (
            group.advantages if group.advantages else [None] * len(group.scores)
        )
        for response, score, advantage in zip(group.rollout.responses, group.scores, advantages, strict=True):
            yield SampleRecord(
                step=step,
                prompt_id=prompt.id,
                task=str(prompt.task),
                index=response.index,
                response=response.text,
                rewards=score.rewards,
                total=score.total,
                reason=score.reason,
                weight_versions=response.weight_versions,
                finish_reason=response.finish_reason,
                tokens=len(response.token_ids),
                starts_at=group.rollout.starts_at,
                advantage=advantage,
            )


def failed(score: Score) -> bool:
    """Whether a reward function of the user's raised or gave no number."""
    return bool(score.reason and score.reason.startswith("custom reward"))


def _means(scores: Sequence[Score]) -> TaskRewards:
    # A function of the user's that fails on a response names none of its components.
    names = dict.fromkeys(name for score in scores for name in score.rewards)
    components = {name: fmean(score.rewards.get(name, 0.0) for score in scores) for name in names}
    return TaskRewards(
        reward=fmean(score.total for score in scores), components=components, responses=len(scores)
    )
