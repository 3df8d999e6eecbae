"""Whether an update brought all of a model's parameters: a layer that misses some would go on with others."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn
from vllm.model_executor.layers.attention import is_deferred_attention_layer
from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding
from vllm.model_executor.model_loader.reload.layerwise import get_layerwise_info


def check_complete(model: nn.Module, tied: Collection[str]) -> None:
    """Look at what was loaded since the update began; to be called before vLLM finishes it.

    Args:
        tied: Names of `tied_layers`, found before the update began; nothing is sent for them.

    Raises:
        ValueError: a layer did not get all of its parameters.
    """
    incomplete = [name for name in _incomplete_layers(model) if name not in tied]
    if incomplete:
        raise ValueError(f"the learner did not send all parameters of: {', '.join(incomplete)}")


def tied_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Layers, by name, whose weight belongs to an earlier layer: the output layer where it is the input embedding."""
    owners: set[int] = set()
    tied: dict[str, nn.Module] = {}
    for name, layer in model.named_modules():
        weight = layer._parameters.get("weight")
        if weight is not None and id(weight) in owners:
            tied[name] = layer
        owners.add(id(weight))
    return tied


def _incomplete_layers(model: nn.Module) -> Iterator[str]:
    """Names of layers that still miss elements after everything was received."""
    for name, layer in model.named_modules():
        info = get_layerwise_info(layer)
        expected = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        if not info.can_load() or info.load_numel >= expected or is_deferred_attention_layer(layer):
            continue
        # Embeddings are padded to a multiple of 64 rows, and no checkpoint has the padding.
        padded = isinstance(layer, VocabParallelEmbedding) and info.load_numel > 0
        if not padded:
            yield name
