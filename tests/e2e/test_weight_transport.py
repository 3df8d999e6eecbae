"""Weights from a sender to two rollout workers: real Ray, real vLLM, gloo, the tiny Qwen2.5-VL.

The tests run in order; the last ones break an engine each.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import ray
import torch
from vllm.distributed.weight_transfer import ModuleSource, ParamMeta

from actors.engine import EngineSettings
from actors.rollout_fleet import FleetSettings, RolloutFleet, RolloutRequest
from data.failures import ActorFailure
from data.records import Rollout
from learner.weight_transport import TransferSettings, WeightSender
from tests.e2e.rollout_stack import Referee, make_clip, make_prompt, settings_for

pytestmark = pytest.mark.e2e

CLIP = make_clip(20, 56, 28, 0.5)
MISMATCH_BOUND = 1.0001
# Many buckets, so that layers straddle them; the embedding is larger than one.
SETTINGS = TransferSettings(backend="gloo", bucket_bytes=100_000, timeout_s=30.0)


@pytest.fixture(scope="module")
def referee(tiny_policy: str) -> Referee:
    return Referee(tiny_policy)


@pytest.fixture(scope="module")
def fleet(ray_cluster: None, tiny_policy: str) -> Iterator[RolloutFleet]:
    fleet = RolloutFleet.start(EngineSettings(model_path=tiny_policy), FleetSettings(num_workers=2))
    yield fleet
    fleet.shutdown()


@pytest.fixture(scope="module")
def sender(fleet: RolloutFleet, referee: Referee) -> Iterator[WeightSender]:
    sender = connect(fleet.workers, ModuleSource(referee.model))
    yield sender
    sender.close()


def connect(workers: Mapping[str, Any], source: ModuleSource) -> WeightSender:
    return WeightSender(workers, source, rank=0, master_address="127.0.0.1", settings=SETTINGS)


def sample_on_each(fleet: RolloutFleet, referee: Referee, **settings: Any) -> list[Rollout]:
    clip = ray.put(CLIP)
    requests = []
    for name in fleet.workers:
        prompt = make_prompt(name)
        requests.append(RolloutRequest(prompt, referee.text(prompt), clip, settings_for(**settings)))
    return fleet.gather(fleet.submit(requests))


def tokens(rollouts: list[Rollout]) -> list[list[list[int]]]:
    return [[response.token_ids for response in rollout.responses] for rollout in rollouts]


def test_the_first_sync_changes_nothing_and_is_audited(
    fleet: RolloutFleet, sender: WeightSender, referee: Referee
) -> None:
    before = sample_on_each(fleet, referee)
    sender.send(1)
    assert tokens(before) == tokens(sample_on_each(fleet, referee))
    checksums = ray.get([worker.weight_checksums.remote() for worker in fleet.workers.values()])
    assert checksums[0] == checksums[1]
    assert checksums[0].keys() == dict(referee.model.named_parameters()).keys()


def test_new_weights_are_in_service_on_every_worker(
    fleet: RolloutFleet, sender: WeightSender, referee: Referee
) -> None:
    """The clip's features and the prompt's keys were cached under the old weights; none of that may be left."""
    before = sample_on_each(fleet, referee)
    referee.perturb(seed=1)
    sender.send(2)
    after = sample_on_each(fleet, referee)
    assert {rollout.worker for rollout in after} == {"rollout-0", "rollout-1"}
    assert tokens(before) != tokens(after)
    for rollout in after:
        assert referee.mismatch(rollout, CLIP) <= MISMATCH_BOUND
        assert all(r.weight_versions == [(0, len(r.token_ids), 2)] for r in rollout.responses)


def test_the_vision_tower_alone_is_not_served_from_a_cache(
    fleet: RolloutFleet, sender: WeightSender, referee: Referee
) -> None:
    sample_on_each(fleet, referee)
    with torch.no_grad():
        for parameter in referee.model.model.visual.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    sender.send(3)
    for rollout in sample_on_each(fleet, referee):
        assert referee.mismatch(rollout, CLIP) <= MISMATCH_BOUND


def test_responses_under_way_go_on_with_the_new_weights(
    fleet: RolloutFleet, sender: WeightSender, referee: Referee
) -> None:
    prompt = make_prompt("under-way")
    request = RolloutRequest(
        prompt, referee.text(prompt), ray.put(CLIP), settings_for(8, max_tokens=1500, seed=3)
    )
    pending = fleet.submit([request])
    time.sleep(0.5)
    referee.perturb(seed=2)
    sender.send(4)
    (rollout,) = fleet.gather(pending)
    spans = [response.weight_versions for response in rollout.responses]
    switched = [response for response in spans if len(response) == 2]
    assert switched, f"no response was under way during the update: {spans}"
    (_, first_end, old), (second_start, _, new) = switched[0]
    assert (old, new) == (3, 4) and first_end == second_start
    since = max(span[1][0] for span in switched)
    assert referee.mismatch(rollout, CLIP, since=since) <= MISMATCH_BOUND


class WrongShape(ModuleSource):
    """Sends the final norm at twice its length."""

    def metadata(self) -> list[ParamMeta]:
        return [
            ParamMeta(m.name, m.dtype, (256,)) if m.name.endswith("language_model.norm.weight") else m
            for m in super().metadata()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in super().__iter__():
            yield name, tensor.repeat(2) if name.endswith("language_model.norm.weight") else tensor


class OneMissing(ModuleSource):
    """Leaves out one matrix, as a gather that skips a partition would."""

    absent = "model.language_model.layers.1.self_attn.k_proj.weight"

    def metadata(self) -> list[ParamMeta]:
        return [m for m in super().metadata() if m.name != self.absent]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        return ((name, tensor) for name, tensor in super().__iter__() if name != self.absent)


class KillsHalfWay(ModuleSource):
    """Kills a process in the middle of a transfer."""

    pid: int

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for number, pair in enumerate(super().__iter__()):
            if number == 40:
                os.kill(self.pid, signal.SIGKILL)
            yield pair


def test_a_parameter_that_was_not_sent_is_an_error(fleet: RolloutFleet, referee: Referee) -> None:
    broken = connect({"rollout-0": fleet.workers["rollout-0"]}, OneMissing(referee.model))
    with pytest.raises(ActorFailure, match=r"layers\.1\.self_attn\.qkv_proj") as failure:
        broken.send(5)
    assert failure.value.name == "rollout-0"
    broken.close()


def test_a_refused_parameter_is_an_error_within_seconds(fleet: RolloutFleet, referee: Referee) -> None:
    broken = connect({"rollout-1": fleet.workers["rollout-1"]}, WrongShape(referee.model))
    start = time.monotonic()
    with pytest.raises(ActorFailure, match=r"refuses model\.language_model\.norm\.weight") as failure:
        broken.send(5)
    assert failure.value.name == "rollout-1"
    assert time.monotonic() - start < SETTINGS.timeout_s
    broken.close()


def test_a_worker_killed_during_a_sync_is_named_within_seconds(fleet: RolloutFleet, referee: Referee) -> None:
    source = KillsHalfWay(referee.model)
    source.pid = fleet.pids["rollout-1"]
    broken = connect({"rollout-1": fleet.workers["rollout-1"]}, source)
    start = time.monotonic()
    with pytest.raises(ActorFailure, match="rollout-1 failed while receiving weight version 6"):
        broken.send(6)
    assert time.monotonic() - start < SETTINGS.timeout_s
    broken.close()


def test_a_dead_worker_is_found(fleet: RolloutFleet) -> None:
    start = time.monotonic()
    with pytest.raises(ActorFailure, match="rollout-1 failed while reporting metrics"):
        fleet.check(deadline_s=30)
    assert time.monotonic() - start < SETTINGS.timeout_s
