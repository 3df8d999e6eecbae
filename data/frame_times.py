"""When the frames of a video file are shown: told by its packets, or by its decoded frames. Times are ticks.

AVI and ASF hold no presentation times. FFmpeg guesses them, and hands them out in the wrong order where pictures are
reordered. These containers do hold when each packet is decoded, and each time a picture is decoded one is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

# A clock that jumps back by more than this, seconds, starts anew: rounding and reordering are smaller.
JUMP_S = 1.0
# Steps up to this many times the usual one are even: a clock of few ticks rounds.
EVEN = 1.5
# A first step beyond this many times the usual one tells nothing.
SLOW = 3.0
# A decoder may keep so many pictures back at the end of a file.
KEPT_BACK = 2
# Only the reader knows how fast it was recorded.
NO_TIMES = "its frames have no times: convert it at its true frame rate (ffmpeg -r FPS -i FILE -c:v libx264 FILE.mp4)"


class UnconfirmedFrames(Exception):
    """The decoder does not give the pictures that the packets announce; the file must be read in order."""


@dataclass(frozen=True)
class FrameTimes:
    """The frames of a file in order of presentation.

    Attributes:
        pts: int64 `[n]`, when each appears, ascending.
        end: When the last one leaves the screen.
        keys: int64, times of the frames that decoding can start from, ascending.
        places: Of each time, the byte that its packet starts at.
    """

    pts: np.ndarray
    end: int
    keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    places: Mapping[int, int] = field(default_factory=dict)


def list_packets(packets: Iterable[Any], stream: Any, counts: bool) -> FrameTimes:
    """The frames as the packets announce them. Nothing is decoded.

    Args:
        counts: The container holds no presentation times.

    Raises:
        UnconfirmedFrames: they do not tell when each frame is shown.
        ValueError: there are none, or the clock jumps back.
    """
    durations: dict[int, int] = {}
    places: dict[int, int] = {}
    keys: list[int] = []
    latest: int | None = None
    for packet in packets:
        if packet.size == 0 or packet.is_discard:
            continue
        if packet.pts is None or packet.pts in places or (counts and packet.pts != packet.dts):
            raise UnconfirmedFrames("packets without times of their own")
        if packet.dts is not None:
            _require_forward(latest, packet.dts, stream)
            latest = packet.dts
        places[packet.pts] = packet.pos
        durations[packet.pts] = packet.duration or 0
        if packet.is_keyframe:
            keys.append(packet.pts)
    if not places:
        raise ValueError("holds no frames")
    pts = np.sort(np.array(list(places), dtype=np.int64))
    end = int(pts[-1]) + (durations[int(pts[-1])] or _usual_stay(pts, stream))
    return FrameTimes(pts, end, np.sort(np.array(keys, dtype=np.int64)), places)


def list_frames(
    frames: Sequence[tuple[int | None, int]], packets: Iterable[Any] | None, stream: Any
) -> FrameTimes:
    """The frames as they come out of the decoder.

    Args:
        frames: Time, if known, and duration, 0 if unknown, of each.
        packets: Those of a container that holds no presentation times; None of other containers.

    Raises:
        ValueError: no frames, or nothing tells when they are shown.
    """
    if not frames:
        raise ValueError("damaged: no frame of it can be decoded")
    given = [time for time, _ in frames]
    pts = np.array(_filled(given, stream) if packets is None else _counted(given, packets), dtype=np.int64)
    return FrameTimes(pts, int(pts[-1]) + (frames[-1][1] or _usual_stay(pts, stream)))


def _filled(times: Sequence[int | None], stream: Any) -> list[int]:
    """The times of frames of which some are not known, as in MPEG-PS: evenly spaced between those that are."""
    known = [number for number, time in enumerate(times) if time is not None]
    values = [time for time in times if time is not None]
    if not known:
        raise ValueError(NO_TIMES)
    if values != sorted(values):
        worst = max(earlier - later for earlier, later in pairwise(values))
        _require_forward(worst, 0, stream)
        values = sorted(values)
    step = (values[-1] - values[0]) / (known[-1] - known[0]) if len(known) > 1 else 0.0
    numbers = np.arange(len(times))
    beyond = (numbers - np.clip(numbers, known[0], known[-1])) * step
    return [int(time) for time in np.rint(np.interp(numbers, known, values) + beyond)]


def _counted(shown: Sequence[int | None], packets: Iterable[Any]) -> list[int]:
    """The times of decoding, one for each picture that is shown.

    A picture is decoded up to `wait` packets after its turn to be shown comes, so the first one is shown when as many
    have been decoded. FFmpeg's guesses are of no use as times, but they tell which packet each picture is from.
    """
    # Not the packets themselves, which hold the whole file.
    sent = [(packet.pts, packet.dts) for packet in packets if packet.size and packet.dts is not None]
    decoded = [dts for _, dts in sent]
    steps = np.diff(decoded)
    usual = int(np.median(steps)) if len(steps) else 1
    number_of = {pts: number for number, (pts, _) in enumerate(sent)}
    waits = [number_of[time] - place for place, time in enumerate(shown) if time in number_of]
    wait = max(waits, default=0)
    is_even = not len(steps) or steps.max() <= EVEN * usual
    # A long first step may be a picture that stays, or a stream that starts late: the container does not say which.
    starts_oddly = wait > 0 and len(steps) > 0 and steps[:wait].max() > SLOW * usual
    is_known = len(waits) == len(shown) and not starts_oddly
    if abs(len(shown) - len(decoded)) > KEPT_BACK or not (is_even or is_known):
        raise ValueError(
            "does not hold the times at which its pictures are shown, which are unevenly spaced: "
            "get it as MP4 or MKV from its source"
        )
    last = int(steps[-1]) if len(steps) else usual
    shifted = [*decoded, *(decoded[-1] + last * number for number in range(1, len(shown) + 1))][wait:]
    return [time - shifted[0] + decoded[0] for time in shifted[: len(shown)]]


def _usual_stay(pts: np.ndarray, stream: Any) -> int:
    """How long one frame stays: half of them shorter; of a single frame, one over the average rate, or 1/25 s."""
    if len(pts) > 1:
        return max(1, int(np.median(np.diff(pts))))
    return max(1, round(1 / (stream.average_rate or 25) / stream.time_base))


def _require_forward(before: int | None, now: int, stream: Any) -> None:
    if before is not None and (before - now) * stream.time_base > JUMP_S:
        at, to = float(before * stream.time_base), float(now * stream.time_base)
        raise ValueError(
            f"its clock jumps back from {at:.2f} to {to:.2f} s: join its parts anew (ffmpeg's concat filter)"
        )
