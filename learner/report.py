"""What one optimizer step reports: sums over micro-batches and ranks, and the figures made of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields


@dataclass
class StepSums:
    """Sums over response tokens, so that averages over any split of a batch are exact.

    Attributes:
        loss: Sum of token losses, weighted by `learner.objective.token_weights`.
        entropy, mismatch, kl, clipped: Sums over tokens.
        largest_mismatch: Largest `exp|logp_rollout - logp_learner|` of a token.
        tokens, responses: Counts.
        micro_batches: Forward and backward passes with real rows.
    """

    loss: float = 0.0
    entropy: float = 0.0
    mismatch: float = 0.0
    kl: float = 0.0
    clipped: float = 0.0
    largest_mismatch: float = 0.0
    tokens: int = 0
    responses: int = 0
    micro_batches: int = 0

    def add(self, other: StepSums) -> None:
        """Take another part of the batch in."""
        for each in fields(self):
            mine, its = getattr(self, each.name), getattr(other, each.name)
            setattr(self, each.name, max(mine, its) if each.name == "largest_mismatch" else mine + its)


class Stopwatch:
    """Seconds by stage, summed over all its measurements."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time the block takes to `stage`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class StepReport:
    """One optimizer step, of one rank or of all.

    Attributes:
        step: Optimizer steps taken, this one included.
        grad_norm: Global gradient norm before clipping, the same on all ranks.
        learning_rate: Of this step.
        seconds: Per stage; of several ranks the slowest, since the others wait for it.
        imbalance: Work of the heaviest rank over that of the lightest, as it was shared out; of several steps the
            largest.
    """

    step: int
    sums: StepSums
    grad_norm: float
    learning_rate: float
    seconds: dict[str, float] = field(default_factory=dict)
    imbalance: float = 1.0

    @property
    def loss(self) -> float:
        """Of the whole batch, where the report is."""
        return self.sums.loss

    @property
    def tokens(self) -> int:
        """Response tokens."""
        return self.sums.tokens

    @property
    def entropy(self) -> float:
        """Nats per response token."""
        return self.sums.entropy / self.sums.tokens

    @property
    def mismatch(self) -> float:
        """Mean `exp|logp_rollout - logp_learner|`; 0 for a supervised step."""
        return self.sums.mismatch / self.sums.tokens

    @property
    def kl(self) -> float:
        """Mean KL to the reference policy per token; 0 without one."""
        return self.sums.kl / self.sums.tokens

    @property
    def clipped_fraction(self) -> float:
        """Share of tokens whose gradient was clipped away."""
        return self.sums.clipped / self.sums.tokens

    def scalars(self) -> dict[str, float]:
        """The figures by name, as they go into the metrics."""
        names = (
            "loss",
            "entropy",
            "mismatch",
            "kl",
            "clipped_fraction",
            "tokens",
            "grad_norm",
            "learning_rate",
        )
        figures = {name: float(getattr(self, name)) for name in names}
        return figures | {"largest_mismatch": self.sums.largest_mismatch}


def merge_reports(reports: Sequence[StepReport]) -> StepReport:
    """The report of the whole step from those of all ranks."""
    sums = StepSums()
    for report in reports:
        sums.add(report.sums)
    stages = {stage for report in reports for stage in report.seconds}
    seconds = {stage: max(report.seconds.get(stage, 0.0) for report in reports) for stage in sorted(stages)}
    first = reports[0]
    return StepReport(first.step, sums, first.grad_norm, first.learning_rate, seconds)


def follow(reports: Sequence[StepReport]) -> StepReport:
    """One report of several optimizer steps on shares of a batch: sums over tokens, means of loss and gradient norm.

    The mismatch is that of the first: the later ones find a policy that has left the rollout's by learning.
    """
    sums = StepSums()
    for report in reports:
        sums.add(report.sums)
    sums.loss /= len(reports)
    sums.mismatch = reports[0].mismatch * sums.tokens
    sums.largest_mismatch = reports[0].sums.largest_mismatch
    seconds = {
        stage: sum(report.seconds.get(stage, 0.0) for report in reports) for stage in reports[0].seconds
    }
    norm = sum(report.grad_norm for report in reports) / len(reports)
    worst = max(report.imbalance for report in reports)
    return StepReport(reports[-1].step, sums, norm, reports[-1].learning_rate, seconds, worst)
