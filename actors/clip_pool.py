"""The driver's side of the video loaders: which clips are decoded, on their way, or given up on.

Holds references and numbers only. A decoded clip stays in the object store for as long as the pool, a rollout or a
train sample holds its reference.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import ray

from actors.fleet import result_of
from actors.video_loader import LoadReport
from data.decoder import ATTEMPTS, START_TIMEOUT_S
from data.failures import missed_deadline
from data.schema import ClipKey, VideoPrompt

LOADING = "decoding clips"
ADVICE = "Its log, in Ray's session folder, has more."


@dataclass(frozen=True)
class _Load:
    """A clip on its way."""

    loader: str
    report: ray.ObjectRef
    clip: ray.ObjectRef


@dataclass
class _Cached:
    """A decoded clip. `served` is False until the first request for it."""

    clip: ray.ObjectRef
    nbytes: int
    served: bool = False


class ClipPool:
    """Decodes clips on the loaders in turn and keeps the most recently used ones, up to a number of bytes.

    For one thread. A clip that cannot be decoded is quarantined: it is not tried again and its prompts get no clip.
    """

    def __init__(self, loaders: Mapping[str, Any], max_bytes: int, timeout_s: float) -> None:
        """Use running `VideoLoader` actors.

        Args:
            loaders: Actor handles by name.
            max_bytes: Most bytes of decoded pixels to keep. What one request returns may exceed it.
            timeout_s: The loaders' time limit for one attempt at a clip, seconds.
        """
        self._loaders = dict(loaders)
        self._turns = cycle(self._loaders)
        self._max_bytes = max_bytes
        self._seconds_per_load = ATTEMPTS * (timeout_s + START_TIMEOUT_S)
        self._loading: dict[ClipKey, _Load] = {}
        self._cached: OrderedDict[ClipKey, _Cached] = OrderedDict()
        self._quarantined: dict[ClipKey, str] = {}
        self._facts: dict[ClipKey, LoadReport] = {}
        self._counts: Counter[str] = Counter()
        self._cached_bytes = 0
        self._decode_seconds = 0.0

    def prefetch(self, prompts: Iterable[VideoPrompt]) -> None:
        """Start decoding the clips of `prompts` that are neither there nor on their way. Does not wait.

        Raises:
            ActorFailure: a loader died.
        """
        self._start_missing(prompt.clip_key for prompt in prompts)
        self._take_in(timeout_s=0)
        self._evict()

    def request(self, prompts: Iterable[VideoPrompt]) -> list[ray.ObjectRef | None]:
        """The clips of `prompts`, in order, None for quarantined ones. Waits for those not decoded yet.

        Returns:
            References of `data.video.Clip` objects.

        Raises:
            ActorFailure: a loader died, or all of them together finished nothing for longer than one clip may take.
        """
        keys = [prompt.clip_key for prompt in prompts]
        self._start_missing(keys)
        while any(key in self._loading for key in keys):
            if not self._take_in(self._seconds_per_load):
                loaders = sorted({load.loader for load in self._loading.values()})
                raise missed_deadline(" and ".join(loaders), LOADING, self._seconds_per_load, ADVICE)
        clips = [self._serve(key) for key in keys]
        self._evict()
        return clips

    def facts(self, prompt: VideoPrompt) -> LoadReport:
        """What was found of the clip of a prompt, once it was requested and is not quarantined."""
        return self._facts[prompt.clip_key]

    def problem(self, prompt: VideoPrompt) -> str | None:
        """Why the clip of a prompt was given up on, or None."""
        return self._quarantined.get(prompt.clip_key)

    @property
    def quarantined(self) -> dict[str, str]:
        """Videos with clips given up on, each with the reason of one of them."""
        return {key[0]: reason for key, reason in self._quarantined.items()}

    def metrics(self) -> dict[str, float]:
        """Counters since the start, and what is held now.

        `misses` are clips decoded, `hits` are requests that an earlier request's clip could serve.
        """
        return {
            "hits": self._counts["hits"],
            "misses": self._counts["misses"],
            "evicted": self._counts["evicted"],
            "quarantined": len(self._quarantined),
            "loading": len(self._loading),
            "cached": len(self._cached),
            "cached_bytes": self._cached_bytes,
            "decode_seconds": self._decode_seconds,
        }

    def _start_missing(self, keys: Iterable[ClipKey]) -> None:
        for key in keys:
            if key not in self._cached and key not in self._loading and key not in self._quarantined:
                loader = next(self._turns)
                report, clip = self._loaders[loader].load.remote(*key)
                self._loading[key] = _Load(loader, report, clip)
                self._counts["misses"] += 1

    def _take_in(self, timeout_s: float) -> int:
        """File what came of loads that have ended: all there are if `timeout_s` is 0, else the first within it."""
        if not self._loading:
            return 0
        keys = {load.report: key for key, load in self._loading.items()}
        wanted = 1 if timeout_s else len(keys)
        ready, _ = ray.wait(list(keys), num_returns=wanted, timeout=timeout_s)
        for report in ready:
            key = keys[report]
            self._file(key, self._loading.pop(key))
        return len(ready)

    def _file(self, key: ClipKey, load: _Load) -> None:
        report: LoadReport = result_of(load.report, load.loader, LOADING, ADVICE)
        self._decode_seconds += report.seconds
        if report.problem is None:
            self._cached[key] = _Cached(load.clip, report.nbytes)
            self._cached_bytes += report.nbytes
            self._facts[key] = report
        else:
            self._quarantined[key] = report.problem

    def _serve(self, key: ClipKey) -> ray.ObjectRef | None:
        if key in self._quarantined:
            return None
        cached = self._cached[key]
        self._cached.move_to_end(key)
        self._counts["hits"] += cached.served
        cached.served = True
        return cached.clip

    def _evict(self) -> None:
        while self._cached_bytes > self._max_bytes:
            _, oldest = self._cached.popitem(last=False)
            self._cached_bytes -= oldest.nbytes
            self._counts["evicted"] += 1
