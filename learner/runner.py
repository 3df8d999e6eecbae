"""Runs a rank's rows through the engine: gradients accumulated over micro-batches, one optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import torch
import torch.distributed as dist
from deepspeed.runtime.engine import DeepSpeedEngine
from torch import Tensor, nn

from learner.batching import Pack, plan_micro_batches
from learner.engine import device_of_rank, gradient_norm
from learner.forward import MicroBatch, TokenScores, lay_out
from learner.lora import adapters_off
from learner.losses import micro_batch_loss
from learner.report import StepReport, StepSums, Stopwatch
from learner.rows import Row
from learner.schedule import learning_rate_at
from learner.settings import LearnerSettings, Objective


class _Pass(NamedTuple):
    """One forward and backward pass of a rank.

    Attributes:
        packs: Of this rank.
        real: Whether they count.
        most_tokens: Response tokens of the rank with most of them.
    """

    packs: list[Pack]
    real: bool
    most_tokens: int


class BatchRunner:
    """One rank's part of every batch. All methods are collective: ranks run the same number of passes.

    Args:
        engine: DeepSpeed around a `ResponseScorer`.
        reference: The reference policy's `ResponseScorer`; None without a KL penalty, and with LoRA, where the
            policy without its adapters is the reference.
    """

    def __init__(
        self, engine: DeepSpeedEngine, reference: nn.Module | None, settings: LearnerSettings
    ) -> None:
        self._engine, self._reference, self._settings = engine, reference, settings

    def step(
        self,
        rows: Sequence[Row],
        global_tokens: int,
        global_responses: int,
        kind: Objective,
        watch: Stopwatch,
    ) -> StepReport:
        """One optimizer step on the global batch, of which `rows` is this rank's share.

        Raises:
            FloatingPointError: the loss of some rank is not finite; no rank has changed its weights.
        """
        sums = StepSums()
        passes = self._passes(rows)
        for number, each in enumerate(passes):
            self._engine.set_gradient_accumulation_boundary(number == len(passes) - 1)
            batch = self._lay_out(rows, each)
            scores, reference = self._score(batch, kind, watch)
            loss, part = micro_batch_loss(
                batch, scores, reference, kind, self._settings, global_tokens, global_responses
            )
            with watch.measure("backward"):
                # DeepSpeed averages gradients over ranks; the shares of the loss already add up over them.
                weight = dist.get_world_size() if each.real else 0
                self._engine.backward(loss * weight, scale_wrt_gas=False)
            if each.real:
                sums.add(part)
        # A rank that raised alone would leave the others waiting in the update.
        if _most([not math.isfinite(sums.loss)])[0]:
            step = self._engine.global_steps + 1
            raise FloatingPointError(f"the loss of optimizer step {step} is not finite; here {sums.loss}")
        return self._update(sums, watch)

    def logprobs(self, rows: Sequence[Row]) -> list[list[float]]:
        """Log-probabilities of each row's response tokens under the sampling distribution."""
        found: list[list[float]] = [[] for _ in rows]
        for each in self._passes(rows):
            batch = self._lay_out(rows, each)
            with torch.no_grad():
                scores: TokenScores = self._engine(batch, self._settings.temperature)
            values = scores.logprobs.split(batch.lengths.tolist())
            for row, its in zip(chain(*each.packs), values, strict=True):
                found[row] = its.tolist()
        return found

    def _passes(self, rows: Sequence[Row]) -> list[_Pass]:
        """The passes that this rank takes part in.

        Forward and backward are collective under ZeRO-2 and 3, so all ranks run as many as the one with most:
        a rank that has run out repeats one row without weight.
        """
        plan = plan_micro_batches([row.size for row in rows], self._settings.micro_batch_tokens)
        count = _most([len(plan)])[0]
        one_row = [plan[-1][-1][:1]]
        packs = plan + [one_row] * (count - len(plan))
        most = _most([sum(rows[row].size.response for row in chain(*its)) for its in packs])
        return [
            _Pass(its, number < len(plan), tokens)
            for number, (its, tokens) in enumerate(zip(packs, most, strict=True))
        ]

    def _lay_out(self, rows: Sequence[Row], each: _Pass) -> MicroBatch:
        packs = [[rows[row] for row in pack] for pack in each.packs]
        return lay_out(packs, device_of_rank(), each.most_tokens)

    def _score(
        self, batch: MicroBatch, kind: Objective, watch: Stopwatch
    ) -> tuple[TokenScores, Tensor | None]:
        """Scores of the policy, and log-probabilities of the reference policy where a KL penalty wants them."""
        if kind == "sft":
            # Demonstrations are learned under the plain distribution, without temperature and banned tokens.
            with watch.measure("forward"):
                return self._engine(batch, 1.0, ban=False), None
        reference = None
        if self._settings.kl_coef:
            with watch.measure("reference"), torch.no_grad():
                reference = self._reference_scores(batch).logprobs
        with watch.measure("forward"):
            scores: TokenScores = self._engine(batch, self._settings.temperature)
        return scores, reference

    def _reference_scores(self, batch: MicroBatch) -> TokenScores:
        if self._reference is not None:
            reference: TokenScores = self._reference(batch, self._settings.temperature)
            return reference
        with adapters_off(self._engine.module):
            without: TokenScores = self._engine(batch, self._settings.temperature)
        return without

    def _update(self, sums: StepSums, watch: Stopwatch) -> StepReport:
        engine = self._engine
        learning_rate = learning_rate_at(self._settings, engine.global_steps)
        for group in engine.optimizer.param_groups:
            group["lr"] = learning_rate
        with watch.measure("update"):
            norm = gradient_norm(engine)
            engine.step()
        norm = float(engine.get_global_grad_norm()) if norm is None else norm
        return StepReport(engine.global_steps, sums, norm, learning_rate, watch.seconds)


def _most(counts: Sequence[int]) -> list[int]:
    """Each count of the rank that has most; collective."""
    most = torch.tensor(counts, device=device_of_rank())
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    found: list[int] = most.tolist()
    return found
