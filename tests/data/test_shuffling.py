"""Shuffled frames: all of them, in a repeatable order, and never taken for the clip they come from."""

from __future__ import annotations

import numpy as np

from data.encoding import vllm_request
from data.shuffling import shuffle_frames
from data.video import Clip


def clip(frames: int = 16) -> Clip:
    pixels = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 28, 28, 3), np.uint8)
    times = tuple(number / 2 for number in range(frames))
    return Clip(pixels, tuple(range(0, 3 * frames, 3)), times, times, frames / 2, 2.0, 1.0, 2, "digest")


def test_every_frame_is_there_once_out_of_order() -> None:
    whole = clip()
    shuffled = shuffle_frames(whole, seed=3)
    order = shuffled.frames[:, 0, 0, 0].tolist()
    assert sorted(order) == list(range(16)) != order
    assert shuffled.frame_indices == tuple(3 * place for place in order)
    assert shuffled.frame_times == tuple(place / 2 for place in order) and shuffled.moments == whole.moments
    assert whole.frames[:, 0, 0, 0].tolist() == list(range(16)), "the clip itself is shared and stays"


def test_equal_seeds_give_equal_orders_and_digests() -> None:
    one, same, other = (shuffle_frames(clip(), seed) for seed in (3, 3, 4))
    assert np.array_equal(one.frames, same.frames) and one.digest == same.digest
    assert not np.array_equal(one.frames, other.frames)
    assert len({clip().digest, one.digest, other.digest}) == 3


def test_the_engine_is_told_the_same_times_under_another_name() -> None:
    whole, shuffled = vllm_request(clip(), "text"), vllm_request(shuffle_frames(clip(), 3), "text")
    assert whole["multi_modal_uuids"] != shuffled["multi_modal_uuids"]
    ((_, told),), ((_, told_shuffled),) = (r["multi_modal_data"]["video"] for r in (whole, shuffled))
    assert told == told_shuffled
