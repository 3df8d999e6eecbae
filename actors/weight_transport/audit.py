"""Whether all weights arrived, and their digests as they did, for comparison with the learner's.

vLLM's own checksums are of its fused and, on the CPU, repacked parameters: they cannot be compared with a checkpoint.
The sending side is `learner/weight_transport/audit.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from actors.weight_transport.completeness import check_complete, tied_layers
from data.transport import checksum


class WeightAudit:
    """Extension of vLLM's worker class (`worker_extension_cls`); works with every transfer backend."""

    model_runner: Any

    def start_weight_audit(self) -> None:
        """Digest every parameter that is loaded from now on; to be called before the update begins."""
        model = self.model_runner.get_model()
        self._tied = set(tied_layers(model))
        load = model.load_weights
        self._digests: dict[str, str] = {}

        def digest(weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
            for name, tensor in weights:
                self._digests[name] = checksum(tensor)
                yield name, tensor

        model.load_weights = lambda weights: load(digest(weights))

    def finish_weight_audit(self) -> dict[str, str]:
        """Stop digesting; to be called before the update is put into service.

        Equal digests on both sides do not show a parameter that the learner forgot altogether, and vLLM's own
        transfer engines do not look for it.

        Returns:
            SHA-256 by parameter name.

        Raises:
            ValueError: a layer did not get all of its parameters.
        """
        model = self.model_runner.get_model()
        # The wrapper is an attribute of the instance that hides the class's method.
        del model.load_weights
        check_complete(model, self._tied)
        return self._digests
