"""One rollout worker: real Ray, real vLLM, the tiny Qwen2.5-VL, against transformers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import ray

from actors.engine import EngineSettings
from actors.rollout_fleet import FleetSettings, RolloutFleet, RolloutRequest
from actors.start_together import Turn
from data.failures import ActorFailure
from data.records import Rollout
from data.video import Clip
from tests.e2e.rollout_stack import Referee, make_clip, make_prompt, settings_for

pytestmark = pytest.mark.e2e

MISMATCH_BOUND = 1.0001
# Lengths, shapes and frame rates that all give other position ids; longer than wide and wider than long.
CLIPS = {
    "square": make_clip(8, 56, 56, 2.0),
    "wide, odd fps": make_clip(6, 28, 140, 1.3),
    "long, slow": make_clip(20, 56, 28, 0.5),
    "short, fast": make_clip(4, 84, 84, 7.0),
    "two frames": make_clip(2, 112, 56, 2.0),
}


@pytest.fixture(scope="module")
def referee(tiny_policy: str) -> Referee:
    return Referee(tiny_policy)


@pytest.fixture(scope="module")
def fleet(ray_cluster: None, tiny_policy: str) -> Iterator[RolloutFleet]:
    fleet = RolloutFleet.start(EngineSettings(model_path=tiny_policy), FleetSettings(), version=3)
    yield fleet
    fleet.shutdown()


def sample(fleet: RolloutFleet, referee: Referee, clip: Clip, **settings: Any) -> Rollout:
    prompt = make_prompt()
    request = RolloutRequest(prompt, referee.text(prompt), ray.put(clip), settings_for(**settings))
    return fleet.gather(fleet.submit([request]))[0]


@pytest.mark.parametrize("name", CLIPS)
def test_greedy_tokens_equal_those_of_transformers(fleet: RolloutFleet, referee: Referee, name: str) -> None:
    rollout = sample(fleet, referee, CLIPS[name], group_size=1, temperature=0.0)
    (response,) = rollout.responses
    expected = referee.distributions(rollout, response, CLIPS[name]).argmax(-1).tolist()
    assert response.token_ids == expected


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("name", CLIPS)
def test_logprobs_are_those_of_the_sampling_distribution(
    fleet: RolloutFleet, referee: Referee, name: str, temperature: float
) -> None:
    rollout = sample(fleet, referee, CLIPS[name], temperature=temperature)
    assert referee.mismatch(rollout, CLIPS[name], temperature) <= MISMATCH_BOUND


def test_prompt_tokens_equal_those_of_the_encoder(fleet: RolloutFleet, referee: Referee) -> None:
    clip = CLIPS["wide, odd fps"]
    rollout = sample(fleet, referee, clip)
    assert rollout.prompt_token_ids == referee.encoder.encode(rollout.prompt, clip).token_ids


def test_a_group_is_complete_and_reproducible(fleet: RolloutFleet, referee: Referee) -> None:
    clip = CLIPS["square"]
    first, again, other = (sample(fleet, referee, clip, group_size=8, seed=seed) for seed in (5, 5, 6))
    tokens = [response.token_ids for response in first.responses]
    assert [response.index for response in first.responses] == list(range(8))
    assert tokens == [response.token_ids for response in again.responses]
    assert all(a.token_ids not in tokens for a in other.responses)
    assert len({tuple(ids) for ids in tokens}) == 8


def test_every_token_carries_its_weight_version(fleet: RolloutFleet, referee: Referee) -> None:
    for response in sample(fleet, referee, CLIPS["square"]).responses:
        assert response.weight_versions == [(0, len(response.token_ids), 3)]
        assert response.finish_reason in ("length", "stop")


def test_vision_tokens_are_never_sampled(fleet: RolloutFleet, referee: Referee) -> None:
    rollout = sample(fleet, referee, CLIPS["square"], group_size=32, max_tokens=64)
    banned = set(referee.encoder.banned_token_ids)
    assert len(banned) == 5
    assert not any(banned & set(response.token_ids) for response in rollout.responses)


def test_a_greedy_group_is_refused(fleet: RolloutFleet, referee: Referee) -> None:
    with pytest.raises(ActorFailure, match="greedy sampling gives one response, 2 were asked for"):
        sample(fleet, referee, CLIPS["square"], group_size=2, temperature=0.0)


def test_groups_that_start_together_are_sampled_alike_every_time(
    fleet: RolloutFleet, referee: Referee
) -> None:
    """To the last digit, though the second time they arrive in another order, and not all at once."""
    clips = {name: ray.put(clip) for name, clip in CLIPS.items()}
    requests = [
        RolloutRequest(make_prompt(name), referee.text(make_prompt(name)), clip, settings_for(4, seed=number))
        for number, (name, clip) in enumerate(clips.items())
    ]
    first = fleet.gather(fleet.submit(requests))
    again = [ray.get(ref) for ref in submit_backwards(fleet, requests)]
    assert [group.responses for group in first] == [group.responses for group in again]
    assert fleet.check(30)["rollout-0"]["groups_running"] == 0


def submit_backwards(fleet: RolloutFleet, requests: list[RolloutRequest]) -> list[ray.ObjectRef]:
    """The same batch, the last group submitted first; references in the order of the requests."""
    generate = fleet.workers["rollout-0"].generate
    refs = []
    for place, request in reversed(list(enumerate(requests))):
        turn = Turn(1_000_000, place, len(requests))
        refs.append(generate.remote(request.prompt, request.text, request.clip, request.sampling, turn))
        time.sleep(0.05)
    return refs[::-1]


def test_a_prompt_that_cannot_fit_names_worker_and_reason(fleet: RolloutFleet, referee: Referee) -> None:
    """It does not keep the others of its batch waiting either."""
    clip = ray.put(CLIPS["square"])
    prompts = [make_prompt("too long"), make_prompt("good")]
    texts = ["x" * 9000, referee.text(prompts[1])]
    requests = [
        RolloutRequest(prompt, text, clip, settings_for())
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    bad, good = fleet.submit(requests)
    with pytest.raises(ActorFailure, match="rollout-0 failed while sampling responses"):
        fleet.gather([bad])
    assert len(fleet.gather([good])[0].responses) == 4


def test_shutdown_leaves_no_process(fleet: RolloutFleet) -> None:
    """Last in the file, because it ends the engine of the others."""
    engines = engine_processes()
    assert engines, [process.name() for process in psutil.process_iter()]
    fleet.shutdown()
    _, alive = psutil.wait_procs(engines, timeout=60)
    assert not alive


def engine_processes(patience_s: float = 60.0) -> list[psutil.Process]:
    """vLLM's processes that descend from this test run.

    A listing is no snapshot: with processes coming and going a branch of the family may be missed, so it is looked for
    again.
    """
    deadline = time.monotonic() + patience_s
    while True:
        family = psutil.Process(os.getpid()).children(recursive=True)
        found = [process for process in family if process.name().startswith("VLLM")]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
