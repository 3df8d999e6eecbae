"""The learner in slow motion: one row at a time, full logits, AdamW. DeepSpeed ranks must reproduce it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration

from data.records import TrainSample
from learner.settings import LearnerSettings, Objective
from tests.learner.tiny import RandomEncoder


def load(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    """The model with transformers' eager attention, which shares no kernel with the learner's."""
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )


def logits_of(model: nn.Module, sample: TrainSample) -> Tensor:
    """[response tokens, vocabulary]: raw logits that predict each response token, from this row alone."""
    encoded = RandomEncoder().encode(sample.prompt, sample.clip)
    prompt, response = encoded.token_ids, sample.response_token_ids
    start = int(encoded.position_ids.max()) + 1
    after = torch.arange(start, start + len(response)).expand(3, -1)
    clip = {
        "pixel_values_videos": encoded.pixel_values_videos.to(model.dtype),
        "video_grid_thw": encoded.video_grid_thw,
    }
    logits = model(
        input_ids=torch.tensor([[*prompt, *response]]),
        position_ids=torch.cat([encoded.position_ids, after], dim=1)[:, None],
        **(clip if sample.clip is not None else {}),
    ).logits[0]
    return logits[len(prompt) - 1 : len(prompt) + len(response) - 1]


def logprobs_of(
    model: nn.Module, sample: TrainSample, temperature: float = 1.0, banned: Sequence[int] = ()
) -> Tensor:
    """[response tokens]."""
    logits = logits_of(model, sample) / temperature
    logits[:, list(banned)] = -math.inf
    return logits.log_softmax(-1)[range(len(logits)), sample.response_token_ids]


class PlainLearner:
    """Takes the same optimizer steps as a `LearnerRank`."""

    def __init__(self, folder: Path, settings: LearnerSettings) -> None:
        self.model, self.settings = load(folder), settings
        self.reference, self.steps = load(folder), 0
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        rest = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decay, "weight_decay": settings.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas)

    def loss(self, samples: Sequence[TrainSample], kind: Objective) -> Tensor:
        """Mean over all tokens of the batch."""
        total, count = torch.zeros(()), 0
        for sample in samples:
            if kind == "sft":
                total = total - logprobs_of(self.model, sample).sum()
            else:
                total = total + self._policy_loss(sample)
            count += len(sample.response_token_ids)
        return total / count

    def step(self, samples: Sequence[TrainSample], kind: Objective) -> tuple[float, float]:
        """Loss and gradient norm."""
        self.steps += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(
                1.0, self.steps / max(1, self.settings.warmup_steps)
            )
        self.optimizer.zero_grad()
        loss = self.loss(samples, kind)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm or math.inf)
        self.optimizer.step()
        return float(loss), float(norm)

    def _policy_loss(self, sample: TrainSample) -> Tensor:
        settings = self.settings
        logprobs = logprobs_of(self.model, sample, settings.temperature, settings.banned_token_ids)
        with torch.no_grad():
            reference = logprobs_of(self.reference, sample, settings.temperature, settings.banned_token_ids)
        loss = torch.zeros(())
        for logprob, rollout, ref in zip(logprobs, sample.rollout_logprobs, reference, strict=True):
            ratio = (logprob - rollout).exp()
            clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
            loss = loss - torch.minimum(ratio * sample.advantage, clipped * sample.advantage)
            loss = loss + settings.kl_coef * ((ref - logprob).exp() - (ref - logprob) - 1)
        return loss
