"""All rollout workers of a run: started together, given prompts, watched."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.engine import EngineSettings
from actors.fleet import call, result_of, stop
from actors.rollout_worker import RolloutWorker
from data.failures import ActorFailure, missed_deadline
from data.records import Rollout, SamplingSettings
from data.schema import VideoPrompt

# An engine takes any number of requests and schedules them itself.
CONCURRENT_CALLS = 1000
POLL_SECONDS = 1.0
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
    """

    prompt: VideoPrompt
    text: str
    clip: Any
    sampling: SamplingSettings


class RolloutFleet:
    """Distributes groups over the rollout workers.

    All responses of a group are sampled by one worker, and prompts about the same clip go to the same worker, where its
    features may still be cached. New clips go to the workers in turn, so that the distribution depends on nothing but
    the order of the requests.

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
        self._turns = cycle(self.workers)
        self._worker_of_clip: dict[str, str] = {}

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

    def generate(self, request: RolloutRequest) -> ray.ObjectRef:
        """Submit a group; the reference becomes a `Rollout`."""
        return self._submit(request, self._route(request))

    def as_completed(self, requests: Iterable[RolloutRequest], max_groups: int) -> Iterator[Rollout]:
        """Sample groups, at most `max_groups` at a time, and yield each when it is done.

        Raises:
            ActorFailure: a worker died, raised or took too long; names it and the prompt.
        """
        waiting = iter(requests)
        running: dict[ray.ObjectRef, tuple[str, float]] = {}
        while True:
            for request in islice(waiting, max_groups - len(running)):
                worker = self._route(request)
                running[self._submit(request, worker)] = (worker, time.monotonic())
            if not running:
                return
            ready, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for ref in ready:
                worker, _ = running.pop(ref)
                yield result_of(ref, worker, SAMPLING)
            self._check_age(running.values())

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

    def _route(self, request: RolloutRequest) -> str:
        clip = request.prompt.video
        if clip not in self._worker_of_clip:
            self._worker_of_clip[clip] = next(self._turns)
        return self._worker_of_clip[clip]

    def _submit(self, request: RolloutRequest, worker: str) -> ray.ObjectRef:
        handle = self.workers[worker]
        return handle.generate.remote(request.prompt, request.text, request.clip, request.sampling)

    def _check_age(self, running: Iterable[tuple[str, float]]) -> None:
        for worker, submitted in running:
            if time.monotonic() - submitted > self._request_timeout_s:
                raise missed_deadline(worker, SAMPLING, self._request_timeout_s)


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
