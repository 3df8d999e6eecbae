"""What every actor of a run reserves of the Ray cluster, and whether the cluster has it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cluster.config import LearnerSection, RolloutSection, RunConfig
from cluster.config.problems import Problem


@dataclass(frozen=True)
class Role:
    """The actors of one kind; each is one bundle and lies on one node.

    Attributes:
        cpus: CPUs reserved for each, cores.
        gpus: GPUs reserved for each, GPUs.
        threads: OpenMP threads of each.
        settings: Keys that `count`, `cpus` and `gpus` come from.
    """

    name: str
    count: int
    cpus: float
    gpus: float
    threads: int
    settings: tuple[str, ...]

    def amount(self, resource: str) -> float:
        """What one of them reserves of Ray's `CPU` or `GPU`."""
        return self.gpus if resource == "GPU" else self.cpus

    def total(self, resource: str) -> float:
        """What all of them reserve."""
        return self.count * self.amount(resource)


def placement(config: RunConfig) -> list[Role]:
    """The roles of a run, in the order of a prompt's way."""
    data, rollout, reward, learner = config.data, config.rollout, config.reward, config.learner
    return [
        Role(
            "video loader",
            data.num_loaders,
            data.cpus_per_loader,
            0,
            1,
            ("data.num_loaders", "data.cpus_per_loader"),
        ),
        Role(
            "rollout worker",
            rollout.num_workers,
            rollout.cpus_per_worker,
            rollout.gpus_per_worker,
            threads(rollout),
            ("rollout.num_workers", "rollout.cpus_per_worker", "rollout.gpus_per_worker"),
        ),
        Role(
            "reward worker",
            reward.num_workers,
            reward.cpus_per_worker,
            0,
            1,
            ("reward.num_workers", "reward.cpus_per_worker"),
        ),
        Role(
            "learner rank",
            learner.num_workers,
            learner.cpus_per_worker,
            learner.gpus_per_worker,
            threads(learner),
            ("learner.num_workers", "learner.cpus_per_worker", "learner.gpus_per_worker"),
        ),
    ]


def threads(section: RolloutSection | LearnerSection) -> int:
    """OpenMP threads of one rollout worker or learner rank."""
    return section.threads_per_worker or max(1, math.ceil(section.cpus_per_worker))


def share_gpus(config: RunConfig) -> bool:
    """Whether a rollout worker and a learner rank may come to lie on one GPU."""
    return all(0 < section.gpus_per_worker < 1 for section in (config.rollout, config.learner))


def shortages(roles: Sequence[Role], nodes: Sequence[Mapping[str, float]], place: str) -> Iterator[Problem]:
    """What the run asks for and the cluster has not.

    Args:
        nodes: Ray's resources of each node.
        place: What the nodes are, in words: `this machine`.
    """
    for resource in ("CPU", "GPU"):
        has = sum(node.get(resource, 0) for node in nodes)
        users = [role for role in roles if role.amount(resource)]
        asked = sum(role.total(resource) for role in users)
        # Ray counts in ten-thousandths; sums of fractions may stray by less.
        if asked > has + 1e-4:
            parts = ", ".join(f"{role.name}s {role.count} x {role.amount(resource):g}" for role in users)
            yield Problem(
                tuple(key for role in users for key in _keys(role, resource)),
                f"the run asks for {asked:g} {resource}s ({parts}); {place} has {has:g}",
            )
            continue
        largest = max((node.get(resource, 0) for node in nodes), default=0)
        for role in users:
            if role.amount(resource) > largest + 1e-4:
                yield Problem(
                    _keys(role, resource),
                    f"a {role.name} asks for {role.amount(resource):g} {resource}s on one node; "
                    f"the largest node of {place} has {largest:g}",
                )


def _keys(role: Role, resource: str) -> tuple[str, ...]:
    kind = "gpus_per" if resource == "GPU" else "cpus_per"
    return tuple(key for key in role.settings if "num_" in key or kind in key)
