"""Whether clips are there and decode, several at a time, each in a process that it may hang or crash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract
from data.schema import ClipKey, VideoPrompt
from data.video import ClipError

# Few and small frames, from all over the clip: enough to know that it decodes, whatever contract a run has.
CONTRACT = SamplingContract(min_frames=2, max_frames=4, max_pixels=16 * 28 * 28)
# Containers round lengths, and annotators wrote whole seconds.
LENGTH_TOLERANCE, LENGTH_TOLERANCE_S = 0.05, 1.0


@dataclass(frozen=True)
class ClipFinding:
    """What came of decoding a clip.

    Attributes:
        problem: Why it cannot be used, or None.
        duration: Its length in seconds; None where it cannot be used.
    """

    problem: str | None = None
    duration: float | None = None


def check_clips(
    clips: Sequence[ClipKey], processes: int, timeout_s: float, advance: Callable[[], None]
) -> dict[ClipKey, ClipFinding]:
    """Decode a few frames of each clip.

    Args:
        processes: How many to decode at a time.
        timeout_s: Longest that one attempt at a clip may take, seconds.
        advance: Called after each.
    """
    free: SimpleQueue[IsolatedDecoder] = SimpleQueue()

    def check(clip: ClipKey) -> ClipFinding:
        decoder = free.get()
        try:
            return _check(clip, decoder)
        finally:
            free.put(decoder)
            advance()

    with ExitStack() as decoders, ThreadPoolExecutor(processes) as pool:
        for _ in range(processes):
            free.put(decoders.enter_context(IsolatedDecoder(CONTRACT, timeout_s)))
        return dict(zip(clips, pool.map(check, clips), strict=True))


def length_warning(prompt: VideoPrompt, finding: ClipFinding) -> str | None:
    """How far a clip's length is from the one listed, if it is far."""
    if finding.duration is None or prompt.duration is None:
        return None
    if abs(finding.duration - prompt.duration) <= max(LENGTH_TOLERANCE_S, LENGTH_TOLERANCE * prompt.duration):
        return None
    return f"listed with {prompt.duration:g} s, {prompt.clip_name} has {finding.duration:.2f} s"


def distinct(prompts: Iterable[VideoPrompt]) -> list[ClipKey]:
    """The clips of prompts, each once."""
    return list(dict.fromkeys(prompt.clip_key for prompt in prompts))


def _check(clip: ClipKey, decoder: IsolatedDecoder) -> ClipFinding:
    # Looked for here first: a failure costs a decoder its process, and a whole folder may be missing.
    if not os.path.exists(clip[0]):
        return ClipFinding("no such file")
    try:
        return ClipFinding(duration=decoder.decode(*clip).duration)
    except ClipError as error:
        return ClipFinding(error.reason)
