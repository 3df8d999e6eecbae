"""Whether clips are there and decode, several at a time, each in a process that it may hang or crash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue

from data.decoder import IsolatedDecoder
from data.sampling import TOLERANCE_S, SamplingContract
from data.schema import ClipKey, VideoPrompt
from data.video import Clip, ClipError

# Few and small frames, from all over the clip: enough to know that it decodes, whatever contract a run has.
CONTRACT = SamplingContract(min_frames=2, max_frames=4, max_pixels=16 * 28 * 28)
# Containers round lengths, and annotators wrote whole seconds.
LENGTH_TOLERANCE, LENGTH_TOLERANCE_S = 0.05, 1.0

# A picture that stays on the screen for less than this, seconds, is no sign of a varying frame rate.
STILL_S = 0.5


@dataclass(frozen=True)
class ClipFinding:
    """What came of decoding a clip.

    Attributes:
        problem: Why it cannot be used, or None.
        duration: Its length in seconds; None where it cannot be used.
        box_times: When its box frames appear, seconds from the first of them.
        starts_at: When its picture starts, seconds.
        warnings: What is unusual about its times.
    """

    problem: str | None = None
    duration: float | None = None
    box_times: tuple[float, ...] = ()
    starts_at: float = 0.0
    warnings: tuple[str, ...] = ()


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
    try:
        found = decoder.decode(*clip)
    except ClipError as error:
        return ClipFinding(error.reason)
    return ClipFinding(
        duration=found.duration,
        box_times=found.times_of(clip[1]),
        starts_at=found.starts_at,
        warnings=tuple(_time_warnings(found)),
    )


def _time_warnings(clip: Clip) -> Iterator[str]:
    """What a person should know about when the frames of a clip are."""
    if clip.starts_at > TOLERANCE_S:
        yield (
            f"its picture starts at {clip.starts_at:.2f} s, later than its sound; leave the annotation as a player "
            "shows it, the policy's answers are brought to that clock"
        )
    if clip.deviation > TOLERANCE_S:
        yield (
            f"its box frames are not evenly spaced in time: M-RoPE, which has one spacing, tells the policy times "
            f"up to {clip.deviation:.2f} s off"
        )
    if clip.longest_still > max(STILL_S, 2 * clip.usual_still):
        yield (
            f"its frame rate varies: frames usually stay {clip.usual_still:.2f} s on the screen, one stays "
            f"{clip.longest_still:.2f} s, and is shown for every moment within"
        )
