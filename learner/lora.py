"""LoRA (arXiv 2106.09685) by PEFT, put into the language model in place, so that the policy stays what it was.

The rest of the policy is frozen. Everybody else sees whole weights: `named_weights` says which parameters of an
adapter belong to which weight, and `merge` adds them up; the reference policy is the adapters switched off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

ADAPTER = "default"
TARGETS = r".*language_model\.layers\..*\.(q|k|v|o|gate|up|down)_proj"


class Weight(NamedTuple):
    """A weight of the policy as every checkpoint knows it.

    Attributes:
        name: Hugging Face's.
        parameter: The weight itself, or what its adapter starts from.
        adapter: None where there is none.
    """

    name: str
    parameter: nn.Parameter
    adapter: LoraLayer | None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that `merge` reads; to be gathered under ZeRO-3."""
        if self.adapter is None:
            return [self.parameter]
        return [self.parameter, self.adapter.lora_A[ADAPTER].weight, self.adapter.lora_B[ADAPTER].weight]

    def merge(self) -> Tensor:
        """The whole weight, adapter included."""
        if self.adapter is None:
            return self.parameter.detach()
        with torch.no_grad():
            return self.parameter + self.adapter.get_delta_weight(ADAPTER)


def add_adapters(policy: nn.Module, rank: int, alpha: int) -> None:
    """Put adapters beside every projection of the language model and freeze everything else.

    Args:
        rank: Width of an adapter; its second matrix starts at 0, so the policy does not change yet.
        alpha: Adapters are scaled by `alpha / rank`.
    """
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGETS, lora_dropout=0.0, bias="none")
    inject_adapter_in_model(config, policy, ADAPTER)


def named_weights(policy: nn.Module) -> list[Weight]:
    """Every weight by the name it has without adapters, in layer order."""
    layers = {name: module for name, module in policy.named_modules() if isinstance(module, LoraLayer)}
    found = []
    for name, parameter in policy.named_parameters():
        owner, _, rest = name.partition(".base_layer.")
        if not rest:
            if ".lora_" not in name:
                found.append(Weight(name, parameter, None))
        else:
            found.append(Weight(f"{owner}.{rest}", parameter, layers[owner] if rest == "weight" else None))
    return found


@contextmanager
def adapters_off(policy: nn.Module) -> Iterator[None]:
    """The policy as it was before training."""
    layers = [module for module in policy.modules() if isinstance(module, LoraLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
