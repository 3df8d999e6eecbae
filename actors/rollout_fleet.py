"""All rollout workers of a run: started together, given prompts, watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from actors.engine import EngineSettings
from actors.fleet import call, collect, stop
from actors.rollout_worker import RolloutWorker
from actors.start_together import Turn
from data.failures import ActorFailure
from data.records import Rollout, SamplingSettings
from data.schema import VideoPrompt

# An engine takes any number of requests and schedules them itself.
CONCURRENT_CALLS = 1000
SHUTDOWN_SECONDS = 10.0
SAMPLING = "sampling responses"


@dataclass(frozen=True)
class FleetSettings:
    """How many rollout workers there are and what each reserves.

    Attributes:
        cpus_per_worker: Cores, may be a fraction or 0.
        gpus_per_worker: GPUs of one worker, all of its tensor-parallel ranks together; a fraction shares one.
        start_timeout_s: Longest start of all workers, in seconds.
        request_timeout_s: Longest time from the submission of a group to its result, in seconds.
    """

    num_workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    start_timeout_s: float = 600.0
    request_timeout_s: float = 600.0

    @property
    def actor_options(self) -> list[dict[str, Any]]:
        """Ray options of each worker's actor, wherever Ray places it."""
        return [{"num_cpus": self.cpus_per_worker, "num_gpus": self.gpus_per_worker}] * self.num_workers


@dataclass(frozen=True)
class RolloutRequest:
    """One group to sample; the arguments of `RolloutWorker.generate`.

    Attributes:
        text: The whole prompt in chat layout.
        clip: Object reference of the decoded clip.
        tower_digest: Of a frozen vision tower whose features are in the cache; empty without one.
        shuffle_seed: Show the clip's frames in an order drawn from this seed; None as they come.
    """

    prompt: VideoPrompt
    text: str
    clip: Any
    sampling: SamplingSettings
    tower_digest: str = ""
    shuffle_seed: int | None = None


@dataclass(frozen=True)
class Submitted:
    """A group under way.

    Attributes:
        worker: Name of the rollout worker that samples it.
        rollout: Reference that becomes a `Rollout`.
    """

    worker: str
    rollout: ray.ObjectRef


class RolloutFleet:
    """Distributes groups over the rollout workers.

    All responses of a group are sampled by one worker.

    Attributes:
        workers: Actor handles by name.
        pids: Process ids of the actors by name.
    """

    def __init__(self, workers: Mapping[str, Any], request_timeout_s: float) -> None:
        self.workers = dict(workers)
        self.pids: dict[str, int] = {}
        self._request_timeout_s = request_timeout_s
        self._batches = 0

    @classmethod
    def start(
        cls,
        engine: EngineSettings,
        settings: FleetSettings,
        version: int = 0,
        actor_options: Sequence[Mapping[str, Any]] | None = None,
    ) -> RolloutFleet:
        """Start all workers at once and wait until they serve.

        Args:
            version: Weight version that the model's files hold.
            actor_options: Ray options of each worker's actor; None places them where Ray likes.

        Raises:
            ActorFailure: a worker did not come up in time or at all.
        """
        options = settings.actor_options if actor_options is None else actor_options
        workers = {
            f"rollout-{index}": _create(f"rollout-{index}", engine, each)
            for index, each in enumerate(options)
        }
        fleet = cls(workers, settings.request_timeout_s)
        try:
            fleet.pids = call(
                workers, "start", version, what="starting vLLM", deadline_s=settings.start_timeout_s
            )
        except ActorFailure:
            fleet.shutdown()
            raise
        return fleet

    def submit(self, requests: Sequence[RolloutRequest], together: bool = True) -> list[Submitted]:
        """Submit groups; does not wait.

        The same requests go to the same workers in every run: prompts about one clip to one worker, where its features
        are computed once, and the clips to the workers in turn.

        Args:
            together: Every worker starts on all of its groups at once, in their order, so that what is sampled does
                not depend on how fast they arrive. Stops what it is sampling for that moment.
        """
        workers = _assign([request.prompt.video for request in requests], list(self.workers))
        sizes, places = Counter(workers), Counter[str]()
        self._batches += 1
        submitted = []
        for request, worker in zip(requests, workers, strict=True):
            turn = Turn(self._batches, places[worker], sizes[worker]) if together else None
            places[worker] += 1
            rollout = self.workers[worker].generate.remote(
                request.prompt,
                request.text,
                request.clip,
                request.sampling,
                turn,
                request.tower_digest,
                request.shuffle_seed,
            )
            submitted.append(Submitted(worker, rollout))
        return submitted

    def gather(self, submitted: Sequence[Submitted]) -> list[Rollout]:
        """Wait for groups; their rollouts in order.

        Raises:
            ActorFailure: a worker died, raised or took too long; names it.
        """
        rollouts, workers = [group.rollout for group in submitted], [group.worker for group in submitted]
        return collect(rollouts, workers, SAMPLING, self._request_timeout_s)

    def check(self, deadline_s: float) -> dict[str, dict[str, float]]:
        """Each worker's metrics.

        Raises:
            ActorFailure: a worker is dead or does not answer within `deadline_s` seconds.
        """
        return call(self.workers, "metrics", what="reporting metrics", deadline_s=deadline_s)

    def shutdown(self) -> None:
        """End all workers with their engines. May be called again."""
        stop(self.workers, SHUTDOWN_SECONDS)
        self.workers = {}


def _assign(clips: Sequence[str], workers: Sequence[str]) -> list[str]:
    """The worker of each clip: each new clip goes to the next worker."""
    places = {clip: place for place, clip in enumerate(dict.fromkeys(clips))}
    return [workers[places[clip] % len(workers)] for clip in clips]


def _create(name: str, engine: EngineSettings, options: Mapping[str, Any]) -> Any:
    all_options = {"name": name, "max_concurrency": CONCURRENT_CALLS, **options}
    return ray.remote(RolloutWorker).options(**all_options).remote(name, engine)
