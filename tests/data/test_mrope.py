"""Our M-RoPE ids are vLLM's, for any number, shape and rate of videos."""

from __future__ import annotations

from types import MethodType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data.mrope import MropeLayout, mrope_position_ids

VIDEO = 7
LAYOUT = MropeLayout(video_token_id=VIDEO, tokens_per_second=2, spatial_merge_size=2)

VIDEOS = st.lists(
    st.tuples(
        st.tuples(
            st.integers(1, 40), st.integers(1, 6).map(lambda n: 2 * n), st.integers(1, 6).map(lambda n: 2 * n)
        ),
        st.one_of(st.floats(0.05, 12), st.sampled_from([0.5, 1.0, 2.0])),
        st.integers(1, 9),
    ),
    max_size=3,
)


def prompt_with(
    videos: list[tuple[tuple[int, int, int], float, int]], tail: int
) -> tuple[list[int], list[int], torch.Tensor, list[float]]:
    """Token ids, where each video starts, grids and seconds per grid; text stands before every video."""
    ids: list[int] = []
    offsets = []
    for (time, height, width), _, text in videos:
        ids += [1] * text
        offsets.append(len(ids))
        ids += [VIDEO] * (time * height * width // 4)
    grids = torch.tensor([grid for grid, _, _ in videos], dtype=torch.int64).reshape(-1, 3)
    return ids + [1] * tail, offsets, grids, [seconds for _, seconds, _ in videos]


def vllm_positions(
    ids: list[int],
    offsets: list[int],
    grids: torch.Tensor,
    seconds: list[float],
    layout: MropeLayout = LAYOUT,
) -> torch.Tensor:
    """What vLLM 0.32 computes, by its own code on a model without weights."""
    from vllm.model_executor.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration as Served

    vision = SimpleNamespace(
        spatial_merge_size=layout.spatial_merge_size, tokens_per_second=layout.tokens_per_second
    )
    model: Any = SimpleNamespace(config=SimpleNamespace(vision_config=vision))
    model.iter_mm_grid_thw = MethodType(Served.iter_mm_grid_thw, model)
    features: list[Any] = [
        SimpleNamespace(
            modality="video",
            mm_position=SimpleNamespace(offset=offset),
            data={
                "video_grid_thw": SimpleNamespace(data=grid),
                # A scalar tensor per video, float64 so that nothing is rounded on the way.
                "second_per_grid_ts": SimpleNamespace(data=torch.tensor(per_grid, dtype=torch.float64)),
            },
        )
        for offset, grid, per_grid in zip(offsets, grids, seconds, strict=True)
    ]
    positions, _ = Served.get_mrope_input_positions(model, ids, features)
    return positions


@given(VIDEOS, st.integers(1, 30))
def test_positions_are_vllms(videos: list[tuple[tuple[int, int, int], float, int]], tail: int) -> None:
    ids, offsets, grids, seconds = prompt_with(videos, tail)
    ours = mrope_position_ids(ids, grids, seconds, LAYOUT)
    assert ours.dtype == torch.int64 and ours.shape == (3, len(ids))
    assert torch.equal(ours, vllm_positions(ids, offsets, grids, seconds))


def test_plain_text_counts_up() -> None:
    ours = mrope_position_ids([1, 2, 3], torch.empty(0, 3), [], LAYOUT)
    assert ours.tolist() == [[0, 1, 2]] * 3


def test_text_goes_on_after_the_largest_id() -> None:
    """Ten temporal patches, two seconds each, outgrow a frame of one token: ids 1, 5, ... 37, then text at 38."""
    ids = [1] + [VIDEO] * 10 + [1]
    ours = mrope_position_ids(ids, torch.tensor([[10, 2, 2]]), [2.0], LAYOUT)
    assert ours[0].tolist() == [0, *range(1, 38, 4), 38]
    assert ours[1].tolist() == ours[2].tolist() == [0, *[1] * 10, 38]


@pytest.mark.parametrize("other", [1.0, 0.083])
def test_seconds_per_grid_matter(other: float) -> None:
    """The default of 1 s, and what an assumed 24 fps gives, are other ids."""
    ids, _, grids, _ = prompt_with([((8, 4, 4), 2.0, 3)], 5)
    assert not torch.equal(
        mrope_position_ids(ids, grids, [2.0], LAYOUT), mrope_position_ids(ids, grids, [other], LAYOUT)
    )


@pytest.mark.parametrize(
    "ids", [[1, VIDEO, VIDEO, 1], [1, *[VIDEO] * 5, 1], [VIDEO, VIDEO, 1, VIDEO, VIDEO, 1], [1, 1], []]
)
def test_placeholders_that_are_not_the_videos_tokens_are_refused(ids: list[int]) -> None:
    with pytest.raises(ValueError, match="video placeholders"):
        mrope_position_ids(ids, torch.tensor([[1, 4, 4]]), [1.0], LAYOUT)
