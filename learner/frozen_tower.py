"""A vision tower that does not train: outside the autograd graph and outside ZeRO, its features kept by clip.

Every rank holds the tower whole (1.3 GB in bfloat16 for Qwen2.5-VL), so that ranks need not run it in step.
"""

from __future__ import annotations

import copy
import hashlib

import torch
from deepspeed.runtime.zero.partition_parameters import GatheredParameters
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from data.encoding import EncodedPrompt
from data.feature_cache import FeatureCache, feature_key
from data.transport import checksum
from learner.tower_attention import use_attention_by_length


class FrozenTower:
    """Features of clips, from the cache where it has them.

    Args:
        policy: Its tower is copied under ZeRO-3 and used as it is otherwise. Collective.
        cache: None keeps nothing.
        partitioned: Whether the policy's parameters are partitioned (ZeRO-3).

    Attributes:
        digest: Of its weights.
        nothing: [0, width], the features of a prompt of text alone.
        runs: Clips the tower computed.
    """

    def __init__(
        self, policy: Qwen2_5_VLForConditionalGeneration, cache: FeatureCache | None, partitioned: bool
    ) -> None:
        tower = policy.model.visual
        if partitioned:
            with GatheredParameters(list(tower.parameters())):
                weights = {name: tensor.detach().clone() for name, tensor in tower.state_dict().items()}
                device = policy.device
            config = copy.deepcopy(tower.config)
            config._attn_implementation = "sdpa"
            tower = type(tower)._from_config(config, dtype=next(iter(weights.values())).dtype)
            use_attention_by_length(tower)
            tower.load_state_dict(weights)
            tower.to(device)
        self._tower = tower.eval().requires_grad_(False)
        self._cache, self.runs = cache, 0
        self.nothing = torch.empty(0, tower.config.out_hidden_size)
        digests = (f"{name}={checksum(tensor)}" for name, tensor in sorted(tower.state_dict().items()))
        self.digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def find(self, clip_digest: str) -> Tensor | None:
        """A clip's features `[tokens, width]` from the cache."""
        return self._cache.get(feature_key(clip_digest, self.digest)) if self._cache else None

    def keeps(self, clip_digest: str) -> bool:
        """Whether the cache has a clip's features, which the coming step will use; does not read them."""
        return self._cache is not None and self._cache.refresh(feature_key(clip_digest, self.digest))

    @torch.no_grad()
    def compute(self, encoded: EncodedPrompt, clip_digest: str) -> Tensor:
        """A clip's features `[tokens, width]` from the tower, on the host; the cache gets them too."""
        parameter = next(self._tower.parameters())
        pixels = encoded.pixel_values_videos.to(parameter.device, parameter.dtype)
        features: Tensor = self._tower(
            pixels, grid_thw=encoded.video_grid_thw.to(parameter.device)
        ).pooler_output
        self.runs += 1
        features = features.cpu()
        if self._cache:
            self._cache.put(feature_key(clip_digest, self.digest), features)
        return features
