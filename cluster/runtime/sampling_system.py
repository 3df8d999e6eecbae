"""The actors that answer prompts, without a learner: for whatever only looks at what a policy says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cluster.config import RunConfig
from cluster.inputs.clip_files import ClipFiles
from cluster.progress.display import Progress
from cluster.runtime.actor_watch import ActorWatch, as_failure
from cluster.runtime.initial_policy import initial_policy
from cluster.runtime.ray_session import ray_session
from cluster.runtime.system import System


@contextmanager
def sampling_system(config: RunConfig, progress: Progress, files: ClipFiles) -> Iterator[System]:
    """Loaders, rollout workers and reward workers on Ray, serving the configuration's policy.

    Raises:
        ClusterTooSmall, RunFailure: Ray cannot be joined, or has too little.
        ActorFailure: an actor died.
    """
    with ExitStack() as stack:
        with progress.waiting("starting Ray"):
            stack.enter_context(ray_session(config))
        system = System(config, progress, files, initial_policy(config))
        stack.callback(system.shutdown)
        watch = stack.enter_context(ActorWatch(system.actors))
        stack.enter_context(as_failure(watch))
        yield system
