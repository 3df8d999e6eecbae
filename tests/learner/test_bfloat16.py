"""With weights in bfloat16, gradients of micro-batches and ranks add up in float32 at every ZeRO stage that can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.utils import safe_get_full_grad
from torch import Tensor

from learner.rank import LearnerRank
from learner.report import StepReport
from learner.settings import LearnerSettings
from tests.learner import two_ranks
from tests.learner.compare import weights_of
from tests.learner.conftest import free_port
from tests.learner.plain import PlainLearner
from tests.learner.test_rank import step
from tests.learner.tiny import make_samples

pytestmark = pytest.mark.e2e
StartRank = Callable[..., LearnerRank]
STAGES = [1, 2, 3]
SETTINGS: dict[str, Any] = {"dtype": "bfloat16", "learning_rate": 1e-3, "micro_batch_tokens": 40}


@contextmanager
def gradients_of(rank: LearnerRank) -> Iterator[dict[str, Tensor]]:
    """Whole gradients of the next step, as they are before the update."""
    found: dict[str, Tensor] = {}
    runner, update = rank._runner, rank._runner._update

    def collect(*arguments: Any) -> StepReport:
        found.update({k: safe_get_full_grad(p).clone() for k, p in rank.policy.named_parameters()})
        return update(*arguments)

    runner._update = collect  # type: ignore[method-assign]
    yield found


@pytest.mark.parametrize(
    ("stage", "offload"), [(1, False), (2, False), (3, False), (1, True), (2, True), (3, True)]
)
def test_sixteen_micro_batches_add_up_to_one(start_rank: StartRank, stage: int, offload: bool) -> None:
    """Each with a sixteenth of the same gradient: exact in float32, with 8 bits off by more than a thousandth."""
    (sample,) = make_samples(1, 1, supervised=True)
    found = []
    for samples in ([sample], [sample] * 16):
        settings = SETTINGS | {"micro_batch_tokens": 1, "offload_optimizer": offload}
        rank = start_rank(**settings, zero_stage=stage, max_grad_norm=0.0)
        with gradients_of(rank) as gradients:
            assert step(rank, samples, "sft").sums.micro_batches == len(samples)
        found.append(gradients)
    one, sixteen = found
    for name, gradient in one.items():
        torch.testing.assert_close(sixteen[name], gradient, rtol=1e-5, atol=0, msg=name)
    assert max(gradient.abs().max() for gradient in one.values()) > 0


@pytest.mark.parametrize("stage", STAGES)
def test_resuming_continues_as_if_nothing_happened(start_rank: StartRank, tmp_path: Path, stage: int) -> None:
    settings = SETTINGS | {"zero_stage": stage}
    batches = [make_samples(2, 3, seed, supervised=True) for seed in range(3)]
    through = start_rank(**settings)
    step(through, batches[0], "sft")
    through.save_checkpoint(str(tmp_path), {})
    expected = [step(through, batch, "sft").scalars() for batch in batches[1:]]
    resumed = start_rank(**settings)
    assert resumed.load_checkpoint(str(tmp_path)) == ({}, [])
    assert [step(resumed, batch, "sft").scalars() for batch in batches[1:]] == expected
    assert resumed.weight_checksums() == through.weight_checksums()


def test_without_zero_deepspeed_has_no_float32_gradients(start_rank: StartRank) -> None:
    with pytest.raises(NotImplementedError, match="unsupported mix"):
        start_rank(**SETTINGS, zero_stage=0)


def one_step(rank: int, port: int, folder: Path) -> dict[int, tuple[float, dict[str, Any]]]:
    """Gradient norm and weights by ZeRO stage, on uneven shares."""
    found = {}
    for stage in STAGES:
        learner = two_ranks.start(rank, port, folder, SETTINGS | {"zero_stage": stage})
        norm = two_ranks.step(learner, rank, 0, "sft").grad_norm
        found[stage] = norm, {name: tensor.tolist() for name, tensor in weights_of(learner).items()}
    return found


def test_two_ranks_take_one_step(policy_folder: Path) -> None:
    first, second = two_ranks.run(one_step, free_port(), policy_folder)
    samples = [replace(sample, rollout_logprobs=[]) for sample in make_samples(3, 3)]
    plain = PlainLearner(policy_folder, LearnerSettings(**SETTINGS))
    _, norm = plain.step(samples, "sft")
    for stage in STAGES:
        assert first[stage] == second[stage]
        assert first[stage][0] == pytest.approx(norm, rel=0.1)


def gradients_by_shares(rank: int, port: int, folder: Path) -> dict[int, list[dict[str, Any]]]:
    """By ZeRO stage, whole gradients where both ranks have the first sample, both the second, and one of each."""
    samples = [replace(sample, rollout_logprobs=[]) for sample in make_samples(1, 2)]
    found: dict[int, list[dict[str, Any]]] = {}
    for stage in STAGES:
        still = SETTINGS | {"zero_stage": stage, "learning_rate": 0.0, "max_grad_norm": 0.0}
        learner = two_ranks.start(rank, port, folder, still)
        found[stage] = []
        for which in (0, 1, rank):
            with gradients_of(learner) as gradients:
                learner.step([samples[which]], 10, 2, "sft")
            found[stage].append({name: gradient.tolist() for name, gradient in gradients.items()})
    return found


def test_two_ranks_add_up_in_float32(policy_folder: Path) -> None:
    found, _ = two_ranks.run(gradients_by_shares, free_port(), policy_folder)
    for stage in STAGES:
        first, second, each = found[stage]
        for name, gradient in each.items():
            mean = (torch.tensor(first[name]) + torch.tensor(second[name])) / 2
            largest = mean.abs().max()
            assert largest > 0, name
            assert (torch.tensor(gradient) - mean).abs().max() <= 1e-5 * largest, f"stage {stage}: {name}"
