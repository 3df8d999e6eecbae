"""M-RoPE position ids of Qwen2.5-VL, computed once for every engine.

transformers' own ids are wrong for text after a video that is longer than it is wide, so ours are passed to it
explicitly; they equal vLLM's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class MropeLayout:
    """What the ids depend on besides the prompt.

    Attributes:
        video_token_id: The video placeholder.
        tokens_per_second: Temporal ids per second of video.
        spatial_merge_size: Patches per side that make one token.
    """

    video_token_id: int
    tokens_per_second: float
    spatial_merge_size: int

    @classmethod
    def from_config(cls, config: Any) -> MropeLayout:
        """Read it from transformers' `Qwen2_5_VLConfig`."""
        vision = config.vision_config
        return cls(config.video_token_id, vision.tokens_per_second, vision.spatial_merge_size)


def mrope_position_ids(
    token_ids: Sequence[int],
    video_grid_thw: torch.Tensor,
    seconds_per_grid: Sequence[float],
    layout: MropeLayout,
) -> torch.Tensor:
    """Temporal, height and width ids of every token.

    Text advances all three by one per token. A video that starts where text would have id n gives the token at grid
    place (t, h, w) the ids `n + (floor(t * seconds_per_grid * tokens_per_second), h, w)`; the text after it goes on one
    past its largest id. (Qwen2.5-VL, arXiv 2502.13923, section 2.1.3; vLLM's `get_mrope_input_positions`.)

    Args:
        token_ids: Prompt, with or without its response; placeholders expanded. Length L.
        video_grid_thw: Per video, patches in time, height and width, `[n, 3]`.
        seconds_per_grid: Per video, seconds of one temporal patch.
        layout: Of the model.

    Returns:
        int64 `[3, L]`.

    Raises:
        ValueError: the placeholders are not exactly the videos' tokens.
    """
    ids = np.asarray(token_ids, dtype=np.int64)
    placeholders = np.flatnonzero(ids == layout.video_token_id)
    pieces: list[np.ndarray] = []
    cursor = next_id = used = 0
    for grid, seconds in zip(video_grid_thw.tolist(), seconds_per_grid, strict=True):
        places = _video_places(grid, seconds, layout)
        count = places.shape[1]
        start = _find_run(placeholders[used : used + count], count)
        pieces.append(_text_ids(next_id, start - cursor))
        pieces.append(places + next_id + start - cursor)
        next_id = int(pieces[-1].max()) + 1
        cursor, used = start + count, used + count
    if used != len(placeholders):
        raise ValueError(f"{len(placeholders)} video placeholders, but the videos have {used} tokens")
    pieces.append(_text_ids(next_id, len(ids) - cursor))
    return torch.from_numpy(np.concatenate(pieces, axis=1))


def _video_places(grid: Sequence[int], seconds: float, layout: MropeLayout) -> np.ndarray:
    """Ids of one video's tokens relative to its start, `[3, t * h * w]`."""
    frames, height, width = grid
    merge = layout.spatial_merge_size
    places = np.indices((frames, height // merge, width // merge)).reshape(3, -1)
    places[0] = places[0] * (seconds * layout.tokens_per_second)
    return places


def _text_ids(first: int, length: int) -> np.ndarray:
    return np.broadcast_to(np.arange(first, first + length), (3, length))


def _find_run(placeholders: np.ndarray, count: int) -> int:
    """Where the unbroken run of `count` placeholders starts."""
    if len(placeholders) != count or placeholders[-1] - placeholders[0] != count - 1:
        raise ValueError(f"no {count} video placeholders stand in a row for a video of that many tokens")
    return int(placeholders[0])
