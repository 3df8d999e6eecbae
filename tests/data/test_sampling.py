"""The sampling contract holds for any video, and agrees with transformers where both decide the same thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.video_processing_qwen2_vl import smart_resize

from data.sampling import (
    TOKEN_PIXELS,
    Choice,
    SamplingContract,
    bfloat16_below,
    choose_denser,
    frame_ranges,
    round_to_bfloat16,
)

RATES = st.one_of(
    st.floats(0.5, 240), st.sampled_from([24000 / 1001, 30000 / 1001, 8.0, 10.0, 12.0, 25.0, 60.0])
)
SIDES = st.integers(8, 2200)


def choose(contract: SamplingContract, total: int, fps: float, boxes: Sequence[int] = ()) -> Choice:
    """From a video of constant frame rate."""
    return contract.choose_frames(np.arange(total) / fps, total / fps, boxes)


@st.composite
def paces(draw: st.DrawFn) -> tuple[np.ndarray, float]:
    """When the frames of a video of any pace appear, and its end: pictures stay from 10 ms to 20 s."""
    stays = draw(st.lists(st.one_of(st.floats(0.01, 0.1), st.floats(0.01, 20)), min_size=1, max_size=200))
    starts = draw(st.sampled_from([0.0, 4.0])) + np.cumsum([0.0, *stays])
    return starts[:-1], float(starts[-1])


@st.composite
def contracts(draw: st.DrawFn) -> SamplingContract:
    min_frames = 2 * draw(st.integers(1, 8))
    min_pixels = draw(st.integers(1, 64)) * TOKEN_PIXELS
    return SamplingContract(
        fps=draw(st.floats(0.1, 12)),
        min_frames=min_frames,
        max_frames=min_frames + 2 * draw(st.integers(0, 384)),
        min_pixels=min_pixels,
        max_pixels=min_pixels * draw(st.integers(2, 16)),
        total_pixels=draw(st.integers(1, 8192)) * TOKEN_PIXELS,
    )


@given(contracts(), paces())
def test_the_policy_is_told_when_its_frames_are_on_the_screen(
    contract: SamplingContract, pace: tuple[np.ndarray, float]
) -> None:
    """Of every video, whatever its pace: M-RoPE counts patches from the first frame on, in seconds per grid."""
    times, end = pace
    choice = contract.choose_frames(times, end)
    count = len(choice.indices)
    assert count % 2 == 0 and 2 <= count <= max(2, min(len(times), contract.max_frames))
    assert list(choice.indices) == sorted(choice.indices)
    leaves = [*times[1:], end]
    for number, index in enumerate(choice.indices):
        told = times[0] + number / 2 * contract.seconds_per_grid(choice.sampled_fps)
        assert times[index] - 1e-5 <= told <= leaves[index] + 1e-5
        assert told == pytest.approx(choice.moments[number], abs=1e-6)
    # The last spacing reaches the end, but for the rounding of the spacing.
    assert (end - times[0]) * (1 - 2**-7) <= count / choice.sampled_fps <= (end - times[0]) * (1 + 2**-7)


@given(contracts(), st.integers(2, 50_000), RATES)
def test_frame_count_is_the_nearest_to_the_wanted_rate(
    contract: SamplingContract, total: int, native_fps: float
) -> None:
    wanted = total / native_fps * contract.fps
    assume(contract.min_frames <= wanted <= min(contract.max_frames, total) - 1)
    assert abs(len(choose(contract, total, native_fps).indices) - wanted) <= 1 + 1e-6


def test_sampled_fps_is_that_of_the_frames_not_the_wanted_one() -> None:
    contract = SamplingContract(fps=2.0)
    choice = choose(contract, 64, 8.0)
    assert (choice.indices, choice.sampled_fps) == (tuple(range(0, 64, 4)), 2.0)
    # 9.3 s at 10 fps: 18 frames instead of 18.6.
    choice = choose(contract, 93, 10.0)
    assert len(choice.indices) == 18 and choice.sampled_fps == pytest.approx(18 / 9.3, rel=2**-8)
    # A cap of 4 frames makes them far apart: 5 s a grid instead of 5.
    capped = SamplingContract(fps=2.0, min_frames=2, max_frames=4)
    assert choose(capped, 100, 10.0) == Choice((0, 25, 50, 75), (0.0, 2.5, 5.0, 7.5), 0.4)


def test_the_last_frame_of_an_hour_is_told_to_the_second() -> None:
    """Seconds per grid rounded after the choice would be off by 4 s there."""
    contract = SamplingContract(max_frames=768)
    choice = choose(contract, 90_500, 25.0)
    told = 383.5 * contract.seconds_per_grid(choice.sampled_fps)
    assert choice.indices[-1] / 25 == pytest.approx(told, abs=0.04)
    assert told < 3620 and told > 3620 * 0.99


def test_a_picture_that_stands_still_is_shown_for_all_its_time() -> None:
    times = np.array([0.0, 8.0, 8.2, 8.4, 8.6, 8.8, 9.0, 9.2, 9.4, 9.6, 9.8])
    choice = SamplingContract(fps=1.0).choose_frames(times, 10.0)
    assert choice.indices == (0, 0, 0, 0, 0, 0, 0, 0, 1, 6)


def test_one_frame_stands_still() -> None:
    assert SamplingContract().choose_frames(np.array([0.0]), 0.04).indices == (0, 0)


def test_box_frames_among_the_regular_ones_change_nothing() -> None:
    contract = SamplingContract(fps=2.0)
    assert choose(contract, 64, 8.0, range(0, 64, 8)) == choose(contract, 64, 8.0)


def test_frames_are_counted_so_that_they_hold_evenly_spaced_boxes() -> None:
    # 9.3 s at 10 fps: 16 frames instead of 18, of which every second is a box's.
    boxes = [k * 93 // 8 for k in range(8)]
    choice = choose(SamplingContract(fps=2.0), 93, 10.0, boxes)
    assert len(choice.indices) == 16 and list(choice.indices[::2]) == boxes
    assert choice.sampled_fps == pytest.approx(16 / 9.3)


@pytest.mark.parametrize("total", range(60, 320, 7))
def test_evenly_spaced_boxes_are_shown_at_the_wanted_rate(total: int) -> None:
    boxes = [k * total // 8 for k in range(8)]
    indices = choose(SamplingContract(fps=2.0), total, 10.0, boxes).indices
    assert set(boxes) <= set(indices)
    assert abs(len(indices) - total / 10.0 * 2.0) <= 4


def test_a_clip_starts_at_the_first_of_its_boxes() -> None:
    boxes = [*range(8, 64, 8)] + [63]
    assert list(choose(SamplingContract(fps=8.0), 64, 8.0, boxes).indices) == boxes


def test_other_box_frames_are_taken_exactly() -> None:
    choice = choose(SamplingContract(fps=2.0), 100, 10.0, (0, 1, 17, 31, 48, 63, 80, 99))
    assert choice.indices == (0, 1, 17, 31, 48, 63, 80, 99)
    assert choice.moments == pytest.approx([0, 0.1, 1.7, 3.1, 4.8, 6.3, 8.0, 9.9])
    assert choice.sampled_fps == pytest.approx(7 / 9.9)


@pytest.mark.parametrize(
    ("times", "end", "box_frames", "message"),
    [
        ([], 8.0, (), "no frame"),
        ([2.0, 3.0], 2.0, (), "last 0 s"),
        ([0.0, 1.0], math.inf, (), "last inf s"),
        ([0.0, 1.0], math.nan, (), "last nan s"),
        (range(10), 10.0, (1, 9, 10, 11), "not all among the video's 10 frames"),
        (range(10), 10.0, (-1, 2), "not all among"),
        (range(10), 10.0, (3, 3), "ascending"),
        (range(10), 10.0, (1, 3, 7), "multiple of 2"),
        ([0.0, 0.0, 1.0], 2.0, (0, 1), "at the same time"),
    ],
)
def test_what_cannot_be_sampled_is_said(
    times: Sequence[float], end: float, box_frames: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingContract().choose_frames(np.array(times, dtype=float), end, box_frames)


@given(contracts(), SIDES, SIDES, st.integers(1, 384))
def test_size_keeps_within_its_bounds(
    contract: SamplingContract, height: int, width: int, pairs: int
) -> None:
    assume(max(height, width) <= 8 * min(height, width))
    rows, columns = contract.choose_size(height, width, 2 * pairs)
    assert rows % 28 == 0 and columns % 28 == 0 and rows * columns > 0
    assume(min(rows, columns) > 28)
    share = max(min(contract.max_pixels, contract.total_pixels // pairs), 1.05 * contract.min_pixels)
    # Growing a small frame to `min_pixels` rounds up by less than a token per side; shrinking rounds down.
    assert (rows - 28) * (columns - 28) < share
    rounded = round(height / 28) * round(width / 28) * TOKEN_PIXELS
    assert rows * columns <= share or rounded < contract.min_pixels
    # Sides are rounded to multiples of 28, so the shape is kept up to half or one such step per side.
    assert abs(rows / columns - height / width) <= (28 * height / width + 28) / columns


@given(contracts(), SIDES, SIDES)
def test_size_is_transformers_size_without_a_total_budget(
    contract: SamplingContract, height: int, width: int
) -> None:
    assume(max(height, width) <= 200 * min(height, width))
    unbounded = SamplingContract(
        min_pixels=contract.min_pixels, max_pixels=contract.max_pixels, total_pixels=10**12
    )
    expected = smart_resize(height, width, 28, contract.min_pixels, contract.max_pixels)
    assert unbounded.choose_size(height, width, 16) == expected


@pytest.mark.parametrize(
    ("frames", "size"), [(60, (224, 392)), (120, (140, 280)), (240, (112, 196)), (360, (84, 140))]
)
def test_the_papers_budget_gives_the_papers_sizes(frames: int, size: tuple[int, int]) -> None:
    """480p clips of 31, 60, 120 and 180 s under VideoChat-R1's training budget."""
    contract = SamplingContract(
        max_frames=768, max_pixels=768 * TOKEN_PIXELS, total_pixels=3584 * TOKEN_PIXELS
    )
    assert contract.choose_size(480, 854, frames) == size


def test_extreme_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="2010 x 10"):
        SamplingContract().choose_size(10, 2010, 8)


@pytest.mark.parametrize(
    "fields",
    [
        {"fps": 0.0},
        {"min_frames": 5},
        {"max_frames": 7},
        {"min_frames": 8, "max_frames": 4},
        {"max_pixels": 1},
    ],
)
def test_a_contract_that_contradicts_itself_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        SamplingContract(**fields)  # type: ignore[arg-type]


@given(st.floats(1e-3, 1e3))
def test_seconds_survive_any_dtype(value: float) -> None:
    rounded = round_to_bfloat16(value)
    assert rounded == torch.tensor(value, dtype=torch.float32).to(torch.bfloat16).item()
    assert abs(rounded - value) <= value / 256


@given(st.floats(1e-3, 1e3))
def test_the_bfloat16_below_is_the_next_one(value: float) -> None:
    rounded = round_to_bfloat16(value)
    below = bfloat16_below(rounded)
    assert below < rounded and round_to_bfloat16((below + rounded) / 2) in (below, rounded)


def test_usual_rates_are_not_rounded() -> None:
    contract = SamplingContract()
    assert [contract.seconds_per_grid(fps) for fps in (1.0, 2.0, 4.0, 8.0)] == [2.0, 1.0, 0.5, 0.25]


@st.composite
def ranges_of(draw: st.DrawFn, total: int) -> list[tuple[int, int]]:
    ends = sorted(draw(st.sets(st.integers(0, total), max_size=6)))
    return list(zip(ends[::2], ends[1::2], strict=False))


@given(st.data(), st.integers(2, 3000))
def test_windows_get_half_as_many_frames_again_at_the_same_budget(data: st.DataObject, total: int) -> None:
    count = data.draw(st.integers(2, total))
    ranges = data.draw(ranges_of(total))
    indices = choose_denser(total, count, ranges)
    assert len(indices) == count
    assert indices == sorted(set(indices)) and indices[0] == 0 and indices[-1] < total
    length = sum(end - start for start, end in ranges)
    inside = sum(start <= index < end for index in indices for start, end in ranges)
    if count <= length:
        # Each end of a range may gain or lose less than one frame.
        expected = count * 1.5 * length / (1.5 * length + total - length)
        assert abs(inside - expected) <= len(ranges) + 1e-9


@given(st.integers(2, 3000), st.data())
def test_without_windows_frames_are_where_they_always_were(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, total))
    assert choose_denser(total, count, []) == [k * total // count for k in range(count)]
    assert choose_denser(total, count, [(0, total)]) == choose_denser(total, count, [])


def test_a_window_of_a_clip_is_sampled_denser() -> None:
    plain, windowed = SamplingContract(max_frames=16), SamplingContract(max_frames=16, windows=((5.0, 10.0),))
    even, closer = choose(plain, 200, 10.0), choose(windowed, 200, 10.0)
    assert (len(even.indices), len(closer.indices)) == (16, 16)
    assert (even.sampled_fps, closer.sampled_fps) == (0.8, 0.8)
    assert [sum(50 <= index < 100 for index in choice.indices) for choice in (even, closer)] == [4, 5]
    assert repr(plain) == repr(windowed), "frames tell clips apart; digests of plain ones stay as they are"


def test_box_frames_win_over_windows() -> None:
    contract = SamplingContract(max_frames=8, windows=((0.0, 2.0),))
    boxes = [0, 3, 11, 20, 28, 35, 41, 49]
    assert list(choose(contract, 50, 10.0, boxes).indices) == boxes


@given(paces(), st.tuples(st.floats(0, 60), st.floats(0.1, 60)))
def test_frames_of_windows_are_on_the_screen_at_their_moments(
    pace: tuple[np.ndarray, float], window: tuple[float, float]
) -> None:
    times, end = pace
    choice = SamplingContract(windows=((window[0], sum(window)),)).choose_frames(times, end)
    leaves = [*times[1:], end]
    assert all(earlier <= later for earlier, later in pairwise(choice.moments))
    for index, moment in zip(choice.indices, choice.moments, strict=True):
        assert times[index] - 1e-5 <= moment <= leaves[index] + 1e-5


def test_a_source_with_few_frames_is_sampled_as_densely_as_it_can_be() -> None:
    """Eight of ten frames, five of them in the window: all of those and three of the others."""
    assert choose_denser(10, 8, [(0, 5)]) == [0, 1, 2, 3, 4, 5, 6, 8]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([(1.0, 2.0)], [(10, 20)]),
        ([(1.05, 1.06)], [(10, 11)]),
        ([(3.0, 4.0), (1.0, 2.0), (1.5, 2.5)], [(10, 25), (30, 40)]),
        ([(-1.0, 1.0), (4.5, 99.0)], [(0, 10), (45, 50)]),
        ([(7.0, 9.0), (2.0, 2.0)], []),
    ],
)
def test_ranges_are_the_frames_that_windows_touch(
    windows: list[tuple[float, float]], expected: list[tuple[int, int]]
) -> None:
    assert frame_ranges(windows, 50, 10.0) == expected
