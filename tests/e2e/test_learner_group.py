"""Learner ranks as Ray actors: exact merging, and failures that name the rank instead of hanging."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.exceptions import RayActorError

from data.failures import ActorFailure
from learner.group import LearnerGroup
from learner.settings import LearnerSettings
from tests.learner.tiny import RandomEncoder, build_policy, make_samples

pytestmark = pytest.mark.e2e
SETTINGS = LearnerSettings(zero_stage=3, learning_rate=1e-3, micro_batch_tokens=60, cpu_threads=1, timeout=60)
StartGroup = Callable[[int], LearnerGroup]


@pytest.fixture
def start_group(ray_cluster: None, tmp_path: Path) -> Iterator[StartGroup]:
    """Starts groups of the given number of ranks and ends them."""
    groups: list[LearnerGroup] = []
    folder = build_policy(tmp_path / "policy")

    def start(num_ranks: int) -> LearnerGroup:
        groups.append(LearnerGroup(SETTINGS, str(folder), RandomEncoder, [{"num_cpus": 1}] * num_ranks, 90.0))
        groups[-1].start()
        return groups[-1]

    yield start
    for group in groups:
        group.stop()


def test_two_ranks_report_and_score_like_one(start_group: StartGroup) -> None:
    samples = make_samples(3, 3)
    # Clips come as references from the object store in a run.
    references = {sample.prompt.id: ray.put(sample.clip) for sample in samples}
    samples = [replace(sample, clip=references[sample.prompt.id]) for sample in samples]
    one, two = start_group(1), start_group(2)
    logprobs = [group.logprobs(samples) for group in (one, two)]
    for sample, first, second in zip(samples, *logprobs, strict=True):
        assert len(first) == len(sample.response_token_ids)
        assert first == pytest.approx(second, abs=1e-5)
    batch = [replace(s, rollout_logprobs=row) for s, row in zip(samples, logprobs[0], strict=True)]
    reports = [group.step(batch, "grpo").scalars() for group in (one, two)]
    assert reports[0] == pytest.approx(reports[1], abs=1e-4)
    assert reports[0]["mismatch"] == pytest.approx(1.0, abs=1e-5)
    assert reports[0]["tokens"] == sum(len(sample.response_token_ids) for sample in samples)


def test_a_failure_in_one_rank_is_told_at_once(start_group: StartGroup) -> None:
    group = start_group(2)
    samples = make_samples(2, 2)
    samples[3] = replace(samples[3], prompt_token_ids=[1, 2, 3])
    start = time.monotonic()
    with pytest.raises(
        ActorFailure, match=r"learner rank \d failed while taking an optimizer step"
    ) as failure:
        group.step(samples, "grpo")
    assert "'prompt-0-1'" in str(failure.value) and "rollout engine saw 3 prompt tokens" in str(failure.value)
    assert time.monotonic() - start < SETTINGS.timeout


def test_a_killed_rank_is_told_at_once(start_group: StartGroup) -> None:
    group = start_group(2)
    ray.kill(group.actors["learner rank 1"])
    start = time.monotonic()
    with pytest.raises(ActorFailure, match=r"learner rank \d failed while taking an optimizer step"):
        group.step(make_samples(2, 2), "grpo")
    assert time.monotonic() - start < SETTINGS.timeout


def test_stop_ends_the_ranks(start_group: StartGroup) -> None:
    group = start_group(1)
    group.stop()
    deadline = time.monotonic() + 20
    # The kill travels on its own: a call made at once may still be answered.
    with pytest.raises(RayActorError):
        while time.monotonic() < deadline:
            ray.get(group.actors["learner rank 0"].address.remote(), timeout=20)
