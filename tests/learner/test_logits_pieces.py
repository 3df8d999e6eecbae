"""Two ranks call the head equally often, however many tokens each has: under ZeRO-3 every call is collective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from learner import forward
from learner.settings import LearnerSettings
from tests.learner import two_ranks
from tests.learner.compare import assert_same_weights, weights_of
from tests.learner.conftest import free_port
from tests.learner.plain import PlainLearner, load, logprobs_of
from tests.learner.tiny import VOCABULARY, make_samples

pytestmark = pytest.mark.e2e
# One micro-batch on the first rank, three on the second.
SHARES = [slice(0, 1), slice(1, 9)]
TOKENS_PER_PIECE = 2
SETTINGS: dict[str, Any] = {
    "zero_stage": 3,
    "learning_rate": 1e-3,
    "micro_batch_tokens": 40,
    "importance_cap": 1e9,
    "kl_coef": 0.1,
}


def uneven(rank: int, port: int, folder: Path) -> tuple[Any, ...]:
    """Log-probabilities, the report of a step and the weights after it, as lists, through pieces of two tokens."""
    forward.LOGITS_BYTES = TOKENS_PER_PIECE * 4 * VOCABULARY
    learner = two_ranks.start(rank, port, folder, SETTINGS)
    samples = make_samples(3, 3)
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    mine = samples[SHARES[rank]]
    logprobs = learner.logprobs(mine)
    report = learner.step(mine, tokens, len(samples), "grpo")
    return logprobs, report, {name: tensor.tolist() for name, tensor in weights_of(learner).items()}


@pytest.fixture(scope="module")
def answers(policy_folder: Path) -> list[Any]:
    # Ranks that disagree on the order of modules raise, or wait for each other: neither may take the suite with it.
    return two_ranks.run(uneven, free_port(), policy_folder)


def test_log_probabilities_are_those_of_full_logits(answers: list[Any], policy_folder: Path) -> None:
    model = load(policy_folder)
    found = [row for logprobs, _, _ in answers for row in logprobs]
    for sample, row in zip(make_samples(3, 3), found, strict=True):
        assert row == pytest.approx(logprobs_of(model, sample).tolist(), abs=2e-5)


def test_a_step_equals_plain_adamw(answers: list[Any], policy_folder: Path) -> None:
    plain = PlainLearner(policy_folder, LearnerSettings(**SETTINGS))
    _, norm = plain.step(make_samples(3, 3), "grpo")
    (_, first, weights), (_, second, _) = answers
    assert first.sums.micro_batches < second.sums.micro_batches
    assert first.grad_norm == pytest.approx(norm, rel=1e-3)
    found = {name: torch.tensor(values) for name, values in weights.items()}
    assert_same_weights(found, dict(plain.model.named_parameters()), SETTINGS["learning_rate"])
