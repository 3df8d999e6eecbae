"""Loss and every parameter's gradient of packed groups equal those of plain rows, for every objective.

The plain side is transformers' own model with eager attention in float64, one row per response with full logits.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from data.records import TrainSample
from data.schema import Task, VideoPrompt
from learner.batching import plan_micro_batches
from learner.forward import ResponseScorer, TokenScores, lay_out
from learner.losses import micro_batch_loss
from learner.policy import load_policy
from learner.recipes import RECIPES
from learner.rows import Row, build_rows
from learner.settings import LearnerSettings
from tests.learner.plain import load, logprobs_of
from tests.learner.tiny import FIRST_TEXT_TOKEN, VOCABULARY, RandomEncoder

RELATIVE_ERROR = 1e-5
CPU = torch.device("cpu")

# A group: its clip's patch grid and the lengths of its responses.
grids = st.tuples(st.integers(1, 3), st.sampled_from([2, 4, 6]), st.sampled_from([2, 4, 6]))
groups = st.tuples(grids, st.lists(st.integers(1, 9), min_size=1, max_size=4))
batches = st.lists(groups, min_size=1, max_size=3)


def settings_of(name: str) -> LearnerSettings:
    plain = LearnerSettings(kl_coef=0.1, longest_response=9, importance_cap=1e6)
    return plain.pursuing(RECIPES[name])


def make_samples(batch: Sequence[tuple[tuple[int, int, int], list[int]]], seed: int) -> list[TrainSample]:
    rng = random.Random(seed)
    samples = []
    for number, (grid, lengths) in enumerate(batch):
        prompt = VideoPrompt(
            f"{seed}-{number}", Task.MULTIPLE_CHOICE, "clip.mp4", "what?", {"answer": "A"}, 4.0
        )
        tokens = RandomEncoder().encode(prompt, grid).token_ids
        for length in lengths:
            response = [rng.randrange(FIRST_TEXT_TOKEN, VOCABULARY) for _ in range(length)]
            samples.append(
                TrainSample(prompt, tokens, response, grid, [0.0] * length, rng.choice([-1.0, 0.5, 1.5]))
            )
    return samples


def loss_of(
    scores: TokenScores, rows: Sequence[Row], every: Sequence[Row], config: LearnerSettings
) -> Tensor:
    # A KL penalty between policies all but equal has a gradient of rounding errors; GSPO often clips all the rest.
    reference = torch.cat([torch.tensor(row.rollout_logprobs) for row in rows]) - 0.7
    tokens = sum(len(row.response) for row in every)
    batch = lay_out([[row] for row in rows], CPU)
    return micro_batch_loss(batch, scores, reference, "grpo", config, tokens, len(every))[0]


@pytest.mark.parametrize("name", RECIPES)
@given(batch=batches, seed=st.integers(0, 99), budget=st.sampled_from([1, 60, 10_000]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_loss_and_gradients(
    policy_folder: Path,
    name: str,
    batch: list[tuple[tuple[int, int, int], list[int]]],
    seed: int,
    budget: int,
) -> None:
    config = settings_of(name)
    samples = make_samples(batch, seed)
    plain = load(policy_folder).double()
    expected = [logprobs_of(plain, sample) for sample in samples]
    # Near the policy's own, on both sides, so that ratios are clipped now and then.
    near = torch.Generator().manual_seed(seed)
    rollout = [(its.detach() + torch.randn(len(its), generator=near) * 0.1).tolist() for its in expected]
    samples = [replace(sample, rollout_logprobs=its) for sample, its in zip(samples, rollout, strict=True)]
    rows = build_rows(samples, [sample.clip for sample in samples], RandomEncoder())

    flat = torch.cat(expected)
    wanted = loss_of(TokenScores(flat, torch.zeros_like(flat)), rows, rows, config)
    wanted.backward()

    scorer = ResponseScorer(load_policy(str(policy_folder), LearnerSettings(), {}))
    total = 0.0
    for packs in plan_micro_batches([row.size for row in rows], budget):
        laid_out = lay_out([[rows[row] for row in pack] for pack in packs], CPU)
        loss = loss_of(scorer(laid_out), [rows[row] for pack in packs for row in pack], rows, config)
        loss.backward()
        total += float(loss.detach())

    # Advantages of both signs: the loss is what is left of terms of order 1.
    assert total == pytest.approx(float(wanted.detach()), rel=RELATIVE_ERROR, abs=RELATIVE_ERROR)
    theirs = dict(plain.named_parameters())
    whole = torch.stack([p.grad.norm() for p in theirs.values() if p.grad is not None]).norm()
    for parameter_name, parameter in scorer.policy.named_parameters():
        gradient = theirs[parameter_name].grad
        assert parameter.grad is not None
        error = (parameter.grad.double() - gradient).norm()
        # A gradient that is all but zero beside the others has no digits of its own in float32.
        assert error <= RELATIVE_ERROR * max(gradient.norm(), 0.01 * whole), parameter_name
