"""Everything a learner rank needs to know about optimization, in one immutable record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from learner.recipes import Aggregation, Correction, KlEstimator, Recipe, Surrogate

Objective = Literal["grpo", "sft"]
Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class BatchSize:
    """What the means of an objective are over.

    Attributes:
        tokens: Response tokens.
        responses: Responses.
    """

    tokens: int
    responses: int


@dataclass(frozen=True)
class LearnerSettings:
    """How the learner turns a batch into one optimizer step.

    Attributes:
        zero_stage: DeepSpeed ZeRO stage, 0 to 3; `bfloat16` takes at least 1.
        dtype: Of weights and activations; `bfloat16` keeps a float32 master copy in the optimizer, and adds gradients
            of micro-batches up in float32.
        learning_rate: Peak learning rate.
        warmup_steps: Optimizer steps of linear warm-up from 0.
        total_steps: Optimizer steps over which `schedule` decays to 0; unused by `constant`.
        max_grad_norm: Global gradient norm to clip to; 0 clips nothing.
        micro_batch_tokens: Tokens of one forward and backward pass; a longer row runs alone.
        offload_optimizer: Keep optimizer state and update in host memory (DeepSpeed's CPU Adam, built at
            start).
        freeze_vision: Do not train the vision tower.
        lora_rank: Width of LoRA adapters in the language model, which then train alone; 0 trains the weights.
        lora_alpha: Adapters are scaled by `lora_alpha / lora_rank`.
        feature_cache, feature_cache_bytes: Folder of a frozen vision tower's features and its bound; 0 keeps none.
        kl_coef: Weight of the KL penalty towards the reference policy; 0 loads no reference policy.
        clip_low, clip_high: The importance ratio is clipped to [1 - clip_low, 1 + clip_high].
        surrogate, aggregation, kl_estimator: Parts of the objective, see `learner.recipes`.
        longest_response: What `constant` aggregation divides by, tokens.
        importance_correction, importance_cap: See `learner.objective.importance_correction`.
        temperature: Temperature the responses were sampled at.
        banned_token_ids: Tokens that sampling excludes.
        cpu_threads: Torch threads of a rank; 0 keeps torch's default.
        timeout: Seconds after which a collective that a peer never joins fails.
    """

    zero_stage: int = 1
    dtype: Literal["float32", "bfloat16"] = "float32"
    learning_rate: float = 1e-6
    warmup_steps: int = 0
    total_steps: int = 0
    schedule: Schedule = "constant"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    micro_batch_tokens: int = 16384
    gradient_checkpointing: bool = False
    offload_optimizer: bool = False
    freeze_vision: bool = False
    lora_rank: int = 0
    lora_alpha: int = 32
    feature_cache: str = ""
    feature_cache_bytes: int = 0
    kl_coef: float = 0.0
    clip_low: float = 0.2
    clip_high: float = 0.2
    surrogate: Surrogate = "token"
    aggregation: Aggregation = "token"
    longest_response: int = 1024
    kl_estimator: KlEstimator = "k3"
    importance_correction: Correction = "truncate"
    importance_cap: float = 2.0
    temperature: float = 1.0
    banned_token_ids: tuple[int, ...] = ()
    seed: int = 0
    cpu_threads: int = 0
    timeout: float = 600.0

    @property
    def tower_trains(self) -> bool:
        """Whether the vision tower is among what is trained."""
        return not (self.freeze_vision or self.lora_rank)

    def pursuing(self, recipe: Recipe) -> LearnerSettings:
        """The same settings with an objective's loss; its advantages are computed before the learner."""
        return replace(
            self,
            surrogate=recipe.surrogate,
            aggregation=recipe.aggregation,
            clip_low=recipe.clip_low,
            clip_high=recipe.clip_high,
            kl_estimator=recipe.kl,
        )
