"""Proof that the weights arrived as they were sent: the same digests on both sides.

The receiving side is `actors/weight_transport/audit.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor
from vllm.distributed.weight_transfer import ParamMeta, WeightSource

from data.transport import checksum


class WeightMismatchError(RuntimeError):
    """A rollout worker holds other weights than the learner sent."""


class AuditedSource(WeightSource):
    """A source that digests what passes through it while `audit` is set."""

    def __init__(self, source: WeightSource) -> None:
        self._source = source
        self.audit = False
        self.checksums: dict[str, str] = {}

    def metadata(self) -> list[ParamMeta]:
        """What the audited source says of itself."""
        return self._source.metadata()

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in self._source:
            if self.audit:
                self.checksums[name] = checksum(tensor)
            yield name, tensor


def compare_checksums(sent: Mapping[str, str], received: Mapping[str, Mapping[str, str]]) -> None:
    """Compare digests by parameter.

    Args:
        sent: The learner's.
        received: Each rollout worker's, by its name.

    Raises:
        WeightMismatchError: names the worker and the parameters that differ or are missing.
    """
    for worker, digests in received.items():
        wrong = sorted(name for name in sent.keys() | digests.keys() if sent.get(name) != digests.get(name))
        if wrong:
            listed = ", ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            raise WeightMismatchError(f"{worker} did not receive what the learner sent: {listed}")
