"""Receiving side of weight transfer. vLLM loads `register` as a plugin in each of its processes."""

from __future__ import annotations

from data.transport import GLOO_BACKEND


def register() -> None:
    """Make the gloo engine known to vLLM. May be called any number of times, as plugins are."""
    from vllm.distributed.weight_transfer import WeightTransferEngineFactory

    if GLOO_BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(
            GLOO_BACKEND, "actors.weight_transport.gloo", "GlooWeightTransferEngine"
        )
