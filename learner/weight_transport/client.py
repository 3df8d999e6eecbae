"""The learner's remote control of the rollout workers during a weight transfer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import ray
from ray.exceptions import RayError

from data.failures import describe_failure, missed_deadline

RESTART = (
    "Its engine may hold half of the new weights: restart it, or resume the run from the last checkpoint."
)


class FleetClient:
    """Drives the same transfer on every rollout worker; vLLM's `VLLMWeightSyncClient` protocol.

    Every call reaches all workers at once and returns when all have answered. The first failure ends it, as does the
    deadline, with an `ActorFailure` that names the worker.

    Args:
        workers: Actor handles by worker name, in rank order.
        ranks_per_worker: Ranks each worker takes in the transfer group: tensor times pipeline parallel size.
        deadline_s: Longest wait for an answer, in seconds.

    Attributes:
        failure: Gets the first failure as its result, for a thread that waits in the transfer itself meanwhile.
    """

    def __init__(self, workers: Mapping[str, Any], ranks_per_worker: int, deadline_s: float) -> None:
        self._workers = dict(workers)
        self._ranks_per_worker = ranks_per_worker
        self._deadline_s = deadline_s
        # vLLM's transfer engines start and finish an update without arguments, so these are set here beforehand.
        self.next_version = 0
        self.audit = False
        self.failure: Future[Exception] = Future()

    @property
    def num_ranks(self) -> int:
        """Ranks of all workers together."""
        return len(self._workers) * self._ranks_per_worker

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Let every engine join the transfer group, each at its own ranks."""
        offsets = range(
            init_info["rank_offset"], init_info["rank_offset"] + self.num_ranks, self._ranks_per_worker
        )
        calls = [(init_info | {"rank_offset": offset},) for offset in offsets]
        self._call("init_weight_transfer_engine", calls, "joining the weight transfer group")

    def start_weight_update(self) -> None:
        """Pause sampling on every worker."""
        self._call("start_weight_update", self._same(self.audit), "pausing for a weight update")

    def update_weights(self, update_info: Any) -> None:
        """Let every worker receive; one call per worker and sync."""
        self._call("update_weights", self._same(update_info), f"receiving weight version {self.next_version}")

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Put the weights into service under `weight_version`, by default `next_version`."""
        version = self.next_version if weight_version is None else int(weight_version)
        self._call(
            "finish_weight_update", self._same(version), f"putting weight version {version} into service"
        )

    def weight_checksums(self) -> dict[str, dict[str, str]]:
        """Digests of what each worker received in an audited update, by worker and parameter."""
        digests = self._call("weight_checksums", self._same(), "reporting weight checksums")
        return dict(zip(self._workers, digests, strict=True))

    def _same(self, *arguments: Any) -> list[tuple[Any, ...]]:
        return [arguments] * len(self._workers)

    def _call(self, method: str, calls: list[tuple[Any, ...]], what: str) -> list[Any]:
        try:
            return self._answers(method, calls, what)
        except Exception as error:
            if not self.failure.done():
                self.failure.set_result(error)
            raise

    def _answers(self, method: str, calls: list[tuple[Any, ...]], what: str) -> list[Any]:
        sent = [
            getattr(worker, method).remote(*arguments)
            for worker, arguments in zip(self._workers.values(), calls, strict=True)
        ]
        pending = dict(zip(sent, self._workers, strict=True))
        end = time.monotonic() + self._deadline_s
        while pending:
            ready, _ = ray.wait(list(pending), timeout=max(0.0, end - time.monotonic()))
            if not ready:
                raise missed_deadline(" and ".join(pending.values()), what, self._deadline_s, RESTART)
            name = pending.pop(ready[0])
            try:
                ray.get(ready[0])
            except RayError as error:
                raise describe_failure(name, what, error, RESTART) from error
        return list(ray.get(sent))
