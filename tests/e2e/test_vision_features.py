"""vLLM samples from the features that a frozen tower left in the cache, and computes none of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from actors.engine import EngineSettings
from actors.rollout_fleet import FleetSettings, RolloutFleet, RolloutRequest
from data.feature_cache import FeatureCache
from data.records import Rollout
from data.video import Clip
from learner.frozen_tower import FrozenTower
from tests.e2e.rollout_stack import Referee, make_clip, make_prompt, settings_for
from tests.e2e.test_rollout_worker import CLIPS, MISMATCH_BOUND

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def referee(tiny_policy: str) -> Referee:
    return Referee(tiny_policy)


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def tower(referee: Referee, cache_folder: Path) -> FrozenTower:
    return FrozenTower(referee.model, FeatureCache(cache_folder, 1 << 24), partitioned=False)


@pytest.fixture(scope="module")
def fleet(ray_cluster: None, tiny_policy: str, cache_folder: Path) -> Iterator[RolloutFleet]:
    fleet = RolloutFleet.start(EngineSettings(tiny_policy, feature_cache=str(cache_folder)), FleetSettings())
    yield fleet
    fleet.shutdown()


def sample(
    fleet: RolloutFleet, referee: Referee, clip: Clip, digest: str, temperature: float = 1.0
) -> Rollout:
    prompt = make_prompt()
    settings = settings_for(4 if temperature else 1, temperature)
    request = RolloutRequest(prompt, referee.text(prompt), ray.put(clip), settings, digest)
    return fleet.gather(fleet.submit([request]))[0]


def found(fleet: RolloutFleet) -> float:
    return fleet.check(30)["rollout-0"]["features_found"]


@pytest.mark.parametrize("name", CLIPS)
def test_samples_from_features_are_those_of_the_pixels(
    fleet: RolloutFleet, referee: Referee, tower: FrozenTower, name: str
) -> None:
    """Clips of several frame rates: the time between frames must come along with the features."""
    clip, before = CLIPS[name], found(fleet)
    tower.compute(referee.encoder.encode(make_prompt(), clip), clip.digest)
    assert referee.mismatch(sample(fleet, referee, clip, tower.digest), clip) <= MISMATCH_BOUND
    greedy = sample(fleet, referee, clip, tower.digest, temperature=0.0)
    expected = referee.distributions(greedy, greedy.responses[0], clip).argmax(-1).tolist()
    assert greedy.responses[0].token_ids == expected
    assert found(fleet) == before + 2


def test_it_is_the_features_that_count(fleet: RolloutFleet, referee: Referee, tower: FrozenTower) -> None:
    """Under another clip's name the wrong features are served, and the referee notices."""
    clip = make_clip(8, 56, 84, seed=1)
    other = replace(clip, digest="another name")
    tower.compute(referee.encoder.encode(make_prompt(), make_clip(8, 56, 84, seed=2)), other.digest)
    assert referee.mismatch(sample(fleet, referee, other, tower.digest), clip) > 1.001


def test_a_clip_without_features_is_sampled_from_its_pixels(
    fleet: RolloutFleet, referee: Referee, tower: FrozenTower
) -> None:
    clip, before = make_clip(8, 56, 84, seed=3), found(fleet)
    for digest in (tower.digest, ""):
        assert referee.mismatch(sample(fleet, referee, clip, digest), clip) <= MISMATCH_BOUND
    assert found(fleet) == before
