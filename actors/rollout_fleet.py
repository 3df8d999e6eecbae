"""All rollout workers of a run: started together, given prompts, watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

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
    def bundle(self) -> dict[str, float]:
        """Ray resources of one worker."""
        wanted = {"CPU": self.cpus_per_worker, "GPU": self.gpus_per_worker}
        return {name: amount for name, amount in wanted.items() if amount > 0}


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

    def __init__(
        self, workers: Mapping[str, Any], request_timeout_s: float, placement: PlacementGroup | None = None
    ) -> None:
        self.workers = dict(workers)
        self.pids: dict[str, int] = {}
        self._request_timeout_s = request_timeout_s
        self._placement = placement
        self._batches = 0

    @classmethod
    def start(cls, engine: EngineSettings, settings: FleetSettings, version: int = 0) -> RolloutFleet:
        """Start all workers at once and wait until they serve.

        Args:
            version: Weight version that the model's files hold.

        Raises:
            ActorFailure: the cluster has not the resources, or a worker did not come up in time or at all.
        """
        placement = reserve(settings)
        workers = {
            name: _create(name, engine, settings, placement, bundle)
            for bundle, name in enumerate(f"rollout-{index}" for index in range(settings.num_workers))
        }
        fleet = cls(workers, settings.request_timeout_s, placement)
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
        """End all workers with their engines and give back their reservation. May be called again."""
        stop(self.workers, SHUTDOWN_SECONDS)
        self.workers = {}
        if self._placement is not None:
            remove_placement_group(self._placement)
            self._placement = None


def _assign(clips: Sequence[str], workers: Sequence[str]) -> list[str]:
    """The worker of each clip: each new clip goes to the next worker."""
    places = {clip: place for place, clip in enumerate(dict.fromkeys(clips))}
    return [workers[places[clip] % len(workers)] for clip in clips]


def reserve(settings: FleetSettings) -> PlacementGroup | None:
    """Reserve one bundle per worker, so that a tensor-parallel worker finds its GPUs on one host.

    Raises:
        ActorFailure: the cluster does not have them free within the start-up time.
    """
    if not settings.bundle:
        return None
    group = placement_group([settings.bundle] * settings.num_workers, strategy="PACK")
    if not group.wait(timeout_seconds=settings.start_timeout_s):
        remove_placement_group(group)
        raise ActorFailure(
            f"the fleet of {settings.num_workers} rollout workers",
            f"reserving {settings.bundle} for each",
            f"free in the cluster: {ray.available_resources()}",
            "Lower rollout.num_workers or what each reserves, or add hosts.",
        )
    return group


def _create(
    name: str, engine: EngineSettings, settings: FleetSettings, placement: PlacementGroup | None, bundle: int
) -> Any:
    strategy = PlacementGroupSchedulingStrategy(placement, bundle) if placement else "DEFAULT"
    options = {
        "name": name,
        "num_cpus": settings.cpus_per_worker,
        "num_gpus": settings.gpus_per_worker,
        "max_concurrency": CONCURRENT_CALLS,
        "scheduling_strategy": strategy,
    }
    return ray.remote(RolloutWorker).options(**options).remote(name, engine)
