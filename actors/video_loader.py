"""A video loader: decodes clips into Ray's object store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import ray

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract, Windows
from data.video import Clip, ClipError, Span


@dataclass(frozen=True)
class LoadReport:
    """How loading one clip went.

    Attributes:
        video: The file.
        seconds: Time it took, retries included.
        nbytes: Size of the decoded pixels, bytes; 0 without a clip.
        tokens: How many tokens of a prompt the clip takes.
        digest: Identifies the pixels; empty without a clip.
        moments: The second that each frame was taken for, from the start of the clip; empty without a clip.
        box_times: When each box frame of the prompt appears, seconds from the first of them.
        duration: Length of the source video, or of the span of it, as it decodes, seconds; 0 without a clip.
        problem: Why there is no clip, or None.
    """

    video: str
    seconds: float
    nbytes: int = 0
    tokens: int = 0
    digest: str = ""
    moments: tuple[float, ...] = ()
    box_times: tuple[float, ...] = ()
    duration: float = 0.0
    problem: str | None = None

    @property
    def starts_at(self) -> float:
        """When the first frame is on the screen, seconds from the start of the clip; 0 without a clip."""
        return self.moments[0] if self.moments else 0.0


class VideoLoader:
    """Ray actor around an `IsolatedDecoder`. A clip that cannot be decoded is a result, not a failure of the actor."""

    def __init__(self, contract: SamplingContract, timeout_s: float) -> None:
        self._decoder = IsolatedDecoder(contract, timeout_s)

    @ray.method(num_returns=2)
    def load(
        self,
        video: str,
        box_frames: Sequence[int] = (),
        span: Span | None = None,
        frame_rate: float | None = None,
        windows: Windows = (),
    ) -> tuple[LoadReport, Clip | None]:
        """Decode one clip.

        The two results are two objects, both owned by the caller: the clip lies in the object store once, the caller
        needs to fetch the report only, and the clip outlives this actor.
        """
        started = time.monotonic()
        try:
            clip = self._decoder.decode(video, box_frames, span, frame_rate, windows)
        except ClipError as error:
            return LoadReport(video, time.monotonic() - started, problem=error.reason), None
        return self._report(video, clip, started, box_frames), clip

    def shutdown(self) -> None:
        """End the decoding process."""
        self._decoder.close()

    def _report(self, video: str, clip: Clip, started: float, box_frames: Sequence[int]) -> LoadReport:
        return LoadReport(
            video,
            time.monotonic() - started,
            nbytes=clip.nbytes,
            tokens=self._decoder.contract.count_tokens(*clip.frames.shape[:3]),
            digest=clip.digest,
            moments=clip.moments,
            box_times=clip.times_of(box_frames),
            duration=clip.duration,
        )
