"""The ways of computing a step that `benchmarks.learner` compares, each with a model and an optimizer of its own.

All have the vision tower's attention by length (`learner.tower_attention`), so that what is compared is how often tower
and prompt are computed, not how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from benchmarks.learner_setting import Policy, Sizes, make_rows
from learner.forward import ResponseScorer, TokenScores, lay_out
from learner.frozen_tower import FrozenTower
from learner.losses import micro_batch_loss
from learner.rows import Row, response_positions
from learner.settings import LearnerSettings
from learner.tower_attention import use_attention_by_length

SETTINGS = LearnerSettings()
PLAIN, IN_TURN, SHARED, CACHED = "row per response", "rows in turn", "shared prefix", "frozen tower, cached"
WAYS = (PLAIN, IN_TURN, SHARED, CACHED)


class PlainScorer(torch.nn.Module):
    """Transformers' forward pass on equally long rows, `logits_to_keep` as trainers use it."""

    def __init__(self, policy: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        use_attention_by_length(policy.model.visual)
        self.policy = policy

    def forward(self, rows: Sequence[Row]) -> TokenScores:
        """Scores of all rows' response tokens, response after response."""
        prompt, length, device = rows[0].prompt, len(rows[0].response), self.policy.device
        responses = torch.tensor([row.response for row in rows], device=device)
        prompts = torch.tensor([prompt.token_ids], device=device).expand(len(rows), -1)
        positions = torch.cat([prompt.position_ids, response_positions(prompt.position_ids, length)], dim=1)
        logits: Tensor = self.policy(
            input_ids=torch.cat([prompts, responses], dim=1),
            position_ids=positions[:, None].expand(-1, len(rows), -1).to(device),
            pixel_values_videos=prompt.pixel_values_videos.repeat(len(rows), 1).to(device),
            video_grid_thw=prompt.video_grid_thw.repeat(len(rows), 1).to(device),
            logits_to_keep=length + 1,
            use_cache=False,
        ).logits[:, :-1]
        log_probs = logits.float().log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1).detach()
        return TokenScores(log_probs.gather(2, responses[..., None]).flatten(), entropy.flatten())


@dataclass
class Subject:
    """One way of computing the step of one group."""

    name: str
    policy: Policy
    sizes: Sizes

    def __post_init__(self) -> None:
        self.rows = make_rows(self.policy.config, self.sizes)
        self.model = self.policy.build()
        self._score: Callable[[Sequence[Row]], TokenScores]
        if self.name in (SHARED, CACHED):
            scorer = ResponseScorer(self.model)
            self._score = lambda rows: scorer(lay_out([rows], self.policy.device))
        else:
            self._score = PlainScorer(self.model)
        if self.name == CACHED:
            self.rows = self._with_features()
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        # Not one temporary per parameter all at once, which would be the peak of a GPU's memory.
        self.optimizer = torch.optim.AdamW(trained, lr=1e-6, fused=self.policy.device.type == "cuda")
        self._tower_calls = 0
        self.model.model.visual.patch_embed.register_forward_hook(self._count)

    def gradients(self) -> float:
        """Forward and backward over the group; returns the loss."""
        self.optimizer.zero_grad()
        parts = [[row] for row in self.rows] if self.name == IN_TURN else [self.rows]
        tokens = sum(len(row.response) for row in self.rows)
        total = 0.0
        for part in parts:
            batch = lay_out([part], self.policy.device)
            loss, _ = micro_batch_loss(
                batch, self._score(part), None, "grpo", SETTINGS, tokens, len(self.rows)
            )
            loss.backward()
            total += float(loss.detach())
        return total

    def step(self) -> float:
        """Seconds of one optimizer step."""
        began = time.perf_counter()
        self.gradients()
        self.optimizer.step()
        if self.policy.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def tower_calls(self) -> int:
        """Clips that the vision tower computes in a step; leaves the step's gradients behind."""
        self._tower_calls = 0
        self.gradients()
        return self._tower_calls

    def gradients_on_host(self) -> dict[str, Tensor]:
        """Those of the last pass, by parameter."""
        return {
            name: parameter.grad.cpu().clone()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }

    def _with_features(self) -> list[Row]:
        self.model.model.visual.requires_grad_(False)
        tower = FrozenTower(self.model, cache=None, partitioned=False)
        features = tower.compute(self.rows[0].prompt, "clip")
        return [replace(row, features=features) for row in self.rows]

    def _count(self, _module: Any, inputs: tuple[Tensor], _output: Tensor) -> None:
        self._tower_calls += len(inputs[0]) // len(self.rows[0].prompt.pixel_values_videos)
