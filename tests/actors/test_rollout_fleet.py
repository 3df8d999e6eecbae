"""Groups go to workers by clip, come back once each, and a worker that dies or dawdles is named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from actors.rollout_fleet import FleetSettings, RolloutFleet, RolloutRequest, reserve
from data.failures import ActorFailure
from data.records import SamplingSettings
from data.schema import Task, VideoPrompt
from tests.actors.obedient import start_actors


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def actors(cluster: None) -> dict[str, Any]:
    return start_actors()


def request(clip: str, text: str = "") -> RolloutRequest:
    prompt = VideoPrompt(f"{clip}-{text}", Task.MULTIPLE_CHOICE, clip, "?", {"answer": "A"}, 1.0, ("x", "y"))
    return RolloutRequest(prompt, text, None, SamplingSettings(1, 1.0, 1, 0))


def test_prompts_about_a_clip_stay_together_and_clips_take_turns(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=30)
    clips = ["1.mp4", "1.mp4", "2.mp4", "2.mp4", "3.mp4", "1.mp4", "4.mp4"]
    rollouts = ray.get([fleet.generate(request(clip, str(number))) for number, clip in enumerate(clips)])
    assert [rollout.worker for rollout in rollouts] == ["a", "a", "b", "b", "a", "a", "b"]


def test_all_groups_come_back_once(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=30)
    done = [
        rollout.prompt.video
        for rollout in fleet.as_completed((request(str(n)) for n in range(20)), max_groups=3)
    ]
    assert sorted(done, key=int) == [str(number) for number in range(20)]


def test_a_group_that_takes_too_long_is_an_error(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=1.0)
    with pytest.raises(ActorFailure, match="(?s)b failed while sampling responses.*no answer within 1 s"):
        list(fleet.as_completed([request("1"), request("2", "hang")], max_groups=2))


def test_a_worker_that_dies_while_sampling_is_named(cluster: None) -> None:
    fleet = RolloutFleet(start_actors(), request_timeout_s=60)
    with pytest.raises(ActorFailure) as failure:
        list(fleet.as_completed([request("1", "hang"), request("2", "die")], max_groups=2))
    assert failure.value.name == "b"


def test_a_reservation_the_cluster_cannot_give_says_what_is_free(cluster: None) -> None:
    with pytest.raises(
        ActorFailure, match="(?s)reserving {'CPU': 1.0, 'GPU': 2.0} for each.*free in the cluster.*'CPU': 2"
    ):
        reserve(FleetSettings(num_workers=2, gpus_per_worker=2.0, start_timeout_s=1.0))
