"""Groups go to workers by clip, come back once each, and a worker that dies or dawdles is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from actors.rollout_fleet import RolloutFleet, RolloutRequest
from data.failures import ActorFailure
from data.records import SamplingSettings
from data.schema import Task, VideoPrompt
from tests.actors.obedient import start_actors


@pytest.fixture(scope="module")
def actors(ray_cluster: None) -> dict[str, Any]:
    return start_actors()


def request(clip: str, text: str = "") -> RolloutRequest:
    prompt = VideoPrompt(f"{clip}-{text}", Task.MULTIPLE_CHOICE, clip, "?", {"answer": "A"}, 1.0, ("x", "y"))
    return RolloutRequest(prompt, text, None, SamplingSettings(1, 1.0, 1, 0))


def test_prompts_about_a_clip_stay_together_and_clips_take_turns(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=30)
    clips = ["1.mp4", "1.mp4", "2.mp4", "2.mp4", "3.mp4", "1.mp4", "4.mp4"]
    requests = [request(clip, str(number)) for number, clip in enumerate(clips)]
    rollouts = fleet.gather(fleet.submit(requests))
    assert [rollout.worker for rollout in rollouts] == ["a", "a", "b", "b", "a", "a", "b"]
    assert [rollout.prompt.id for rollout in rollouts] == [r.prompt.id for r in requests]


def test_groups_come_back_in_the_order_of_their_submission(actors: dict[str, Any]) -> None:
    """Whichever worker is done first."""
    fleet = RolloutFleet(actors, request_timeout_s=30)
    requests = [request("1", "slow"), request("2"), request("3", "slow"), request("4")]
    found = fleet.gather(fleet.submit(requests))
    assert [rollout.prompt.video for rollout in found] == ["1", "2", "3", "4"]


def test_what_came_before_does_not_change_who_samples(actors: dict[str, Any]) -> None:
    """A resumed run would otherwise sample on other workers than the run it continues."""
    fleet = RolloutFleet(actors, request_timeout_s=30)
    fleet.gather(fleet.submit([request("1.mp4")]))
    again = fleet.submit([request("1.mp4"), request("2.mp4")])
    assert [group.worker for group in again] == ["a", "b"]


def test_groups_that_start_together_know_their_places(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=30)
    requests = [request(clip, "turn") for clip in ("1.mp4", "2.mp4", "3.mp4")]
    turns = [rollout.seconds for rollout in fleet.gather(fleet.submit(requests))]
    assert turns == [0.2, 0.1, 1.2]
    assert [rollout.seconds for rollout in fleet.gather(fleet.submit(requests, together=False))] == [-1.0] * 3


def test_the_seed_of_shuffled_frames_reaches_the_worker(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=30)
    plain = request("1.mp4", "seed")
    rollouts = fleet.gather(fleet.submit([plain, replace(plain, shuffle_seed=7)]))
    assert [rollout.seconds for rollout in rollouts] == [-1.0, 7]


def test_a_group_that_takes_too_long_is_an_error(actors: dict[str, Any]) -> None:
    fleet = RolloutFleet(actors, request_timeout_s=1.0)
    with pytest.raises(ActorFailure, match="(?s)b failed while sampling responses.*no answer within 1 s"):
        fleet.gather(fleet.submit([request("1"), request("2", "hang")]))


def test_a_worker_that_dies_while_sampling_is_named(ray_cluster: None) -> None:
    fleet = RolloutFleet(start_actors(), request_timeout_s=60)
    with pytest.raises(ActorFailure) as failure:
        fleet.gather(fleet.submit([request("1", "hang"), request("2", "die")]))
    assert failure.value.name == "b"
