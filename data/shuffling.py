"""A clip with its frames out of order: what T-GRPO compares a clip with (Video-R1, arXiv 2503.21776)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from data.video import Clip


def shuffle_frames(clip: Clip, seed: int) -> Clip:
    """The same frames in another order, the same for equal seeds; the moments they are shown for stay.

    Its digest is its own, so that no cache of pixels, features or prefixes takes one for the other.
    """
    order = np.random.default_rng(seed).permutation(len(clip.frames))
    return replace(
        clip,
        frames=clip.frames[order],
        frame_indices=tuple(clip.frame_indices[place] for place in order),
        frame_times=tuple(clip.frame_times[place] for place in order),
        digest=hashlib.sha256(f"{clip.digest}/shuffled/{seed}".encode()).hexdigest(),
    )
