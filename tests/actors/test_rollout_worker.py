"""What a rollout worker hands to its engine; the engine itself is not started."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np

from actors.engine import EngineSettings
from actors.rollout_worker import RolloutWorker
from data.records import SamplingSettings
from data.schema import Task, VideoPrompt
from data.shuffling import shuffle_frames
from data.video import Clip

PROMPT = VideoPrompt("p", Task.MULTIPLE_CHOICE, "c.mp4", "?", {"answer": "A"}, 4.0, ("x", "y"))
FRAMES = np.random.default_rng(0).integers(0, 255, (8, 28, 28, 3), dtype=np.uint8)
TIMES = tuple(number / 2 for number in range(8))
CLIP = Clip(FRAMES, tuple(range(8)), TIMES, TIMES, 4.0, 2.0, 1.0, 2, "digest")


class Worker(RolloutWorker):
    """Keeps the requests."""

    _patch_size = 14

    def __init__(self) -> None:
        super().__init__("rollout-0", EngineSettings("nowhere"))
        self.requests: list[dict[str, Any]] = []

    def _sampling_params(self, sampling: SamplingSettings) -> Any:
        return sampling

    async def _sample(self, request: dict[str, Any], params: Any, turn: Any) -> Any:
        self.requests.append(request)
        return SimpleNamespace(outputs=[], prompt_token_ids=[1], num_cached_tokens=0)


def test_shuffled_frames_are_shown_under_a_name_of_their_own() -> None:
    worker, sampling = Worker(), SamplingSettings(1, 1.0, 1, 0)
    for seed in (None, 5):
        asyncio.run(worker.generate(PROMPT, "text", CLIP, sampling, shuffle_seed=seed))
    usual, shuffled = worker.requests
    expected = shuffle_frames(CLIP, 5)
    assert usual["multi_modal_uuids"] == {"video": ["digest"]}
    assert shuffled["multi_modal_uuids"] == {"video": [expected.digest]}
    assert np.array_equal(usual["multi_modal_data"]["video"][0][0], FRAMES)
    assert np.array_equal(shuffled["multi_modal_data"]["video"][0][0], expected.frames)
