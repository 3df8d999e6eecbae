"""One reservation for all actors of a run: they get their places together, or the run does not start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cluster.planning.placement import Role
from data.failures import ActorFailure


class Reservation:
    """A placement group with a bundle for each actor, so that no role takes the GPUs another one is to have.

    Args:
        roles: Actors that reserve nothing are placed anywhere.
        deadline_s: Longest wait for a cluster that is in use, seconds.

    Raises:
        ActorFailure: the cluster does not have it free in time.
    """

    def __init__(self, roles: Sequence[Role], deadline_s: float) -> None:
        self._roles = {role.name: role for role in roles}
        self._first: dict[str, int] = {}
        bundles: list[dict[str, float]] = []
        for role in roles:
            if bundle := _bundle(role):
                self._first[role.name] = len(bundles)
                bundles += [bundle] * role.count
        self._group = placement_group(bundles, strategy="PACK") if bundles else None
        if self._group is not None and not self._group.wait(timeout_seconds=deadline_s):
            self.release()
            raise ActorFailure(
                "the cluster",
                "reserving " + ", ".join(f"{_bundle(r)} for {r.count} {r.name}s" for r in roles),
                f"not free within {deadline_s:g} s; free are: {ray.available_resources()}",
                "Wait until other jobs have ended, ask for fewer or smaller workers, or add nodes.",
            )

    def options(self, role: str) -> list[dict[str, Any]]:
        """Ray's options of each actor of a role."""
        its = self._roles[role]
        common = {"num_cpus": its.cpus, "num_gpus": its.gpus}
        if self._group is None or role not in self._first:
            return [common] * its.count
        bundles = range(self._first[role], self._first[role] + its.count)
        return [
            common | {"scheduling_strategy": PlacementGroupSchedulingStrategy(self._group, bundle)}
            for bundle in bundles
        ]

    def release(self) -> None:
        """Give it back; ends the actors that are still in it. May be called again."""
        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None


def _bundle(role: Role) -> dict[str, float]:
    return {resource: role.amount(resource) for resource in ("CPU", "GPU") if role.amount(resource) > 0}
