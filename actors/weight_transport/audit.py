"""Digests of the weights as they arrive, for comparison with the learner's.

vLLM's own checksums are of its fused and, on the CPU, repacked parameters: they cannot be compared with a checkpoint.
The sending side is `learner/weight_transport/audit.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from data.transport import checksum


class WeightAudit:
    """Extension of vLLM's worker class (`worker_extension_cls`); works with every transfer backend."""

    model_runner: Any

    def start_weight_audit(self) -> None:
        """Digest every parameter that is loaded from now on."""
        model = self.model_runner.get_model()
        load = model.load_weights
        self._digests: dict[str, str] = {}

        def digest(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                self._digests[name] = checksum(tensor)
                yield name, tensor

        model.load_weights = lambda weights: load(digest(weights))

    def finish_weight_audit(self) -> dict[str, str]:
        """Stop digesting; returns SHA-256 by parameter name."""
        # The wrapper is an attribute of the instance that hides the class's method.
        del self.model_runner.get_model().load_weights
        return self._digests
