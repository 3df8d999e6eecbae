"""Two ranks with uneven shares take the steps of plain AdamW on the whole batch, at every ZeRO stage.

And the exactness of the learner: loss and gradients over 1 and 2 ranks, ZeRO stages and objectives, one start for each
number of ranks and stage.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from learner import rank as rank_module
from learner.forward import TokenScores, lay_out
from learner.losses import micro_batch_loss
from learner.recipes import RECIPES
from learner.report import merge_reports
from learner.rows import build_rows
from learner.settings import LearnerSettings
from tests.learner import two_ranks
from tests.learner.compare import assert_same_weights
from tests.learner.conftest import free_port
from tests.learner.partitioned import partition_everything
from tests.learner.plain import PlainLearner, load, logprobs_of
from tests.learner.tiny import RandomEncoder, make_samples

pytestmark = pytest.mark.e2e
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "micro_batch_tokens": 40,
    "importance_cap": 1e9,
    "kl_coef": 0.1,
}
STAGES = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("two-ranks")


@pytest.fixture(scope="module")
def answers(policy_folder: Path, moved_folder: Path, tiny_folder: Path, folder: Path) -> list[Any]:
    each = {stage: SETTINGS | {"zero_stage": stage} for stage in STAGES}
    paths = (policy_folder, moved_folder, tiny_folder, folder)
    return two_ranks.run(two_ranks.everything, free_port(), *paths, each, timeout=400.0)


@pytest.fixture(scope="module")
def moved_folder(policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy a few steps away: a reference that the KL penalty pulls towards."""
    model, noise = load(policy_folder), torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=noise)
    folder = tmp_path_factory.mktemp("moved")
    model.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Whole:
    """An objective on the whole batch, row by row in float64."""

    loss: float
    kl: float
    gradients: dict[str, Tensor]


@pytest.fixture(scope="module")
def expected(policy_folder: Path, moved_folder: Path) -> dict[str, Whole]:
    """By objective."""
    samples = two_ranks.uneven_samples()
    rows = build_rows(samples, [sample.clip for sample in samples], RandomEncoder())  # type: ignore[arg-type]
    batch = lay_out([[row] for row in rows], torch.device("cpu"))
    model, moved = load(policy_folder).double(), load(moved_folder).double()
    with torch.no_grad():
        reference = torch.cat([logprobs_of(moved, sample) for sample in samples])
    flat = torch.cat([logprobs_of(model, sample) for sample in samples])
    found = {}
    for name in RECIPES:
        model.zero_grad()
        scores, config = TokenScores(flat, torch.zeros_like(flat)), two_ranks.objective_settings(name)
        loss, sums = micro_batch_loss(batch, scores, reference, "grpo", config, len(flat), len(rows))
        loss.backward(retain_graph=True)
        gradients = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
        found[name] = Whole(float(loss.detach()), sums.kl / sums.tokens, gradients)
    return found


@pytest.fixture(scope="module")
def losses_of_one_rank(policy_folder: Path, moved_folder: Path, folder: Path) -> dict[int, dict[str, float]]:
    """By ZeRO stage and objective."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_module, "deepspeed_config", partition_everything)
        return {
            stage: two_ranks.gradients(0, free_port(), policy_folder, moved_folder, stage, folder, ranks=1)
            for stage in STAGES
        }


@pytest.fixture(scope="module")
def plain(policy_folder: Path) -> tuple[PlainLearner, list[tuple[float, float]]]:
    learner = PlainLearner(policy_folder, LearnerSettings(**SETTINGS))
    return learner, [
        learner.step(make_samples(3, 3, seed), kind) for seed, kind in enumerate(["grpo", "sft"])
    ]  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", STAGES)
def test_steps_equal_plain_adamw(
    answers: list[Any], plain: tuple[PlainLearner, list[tuple[float, float]]], stage: int
) -> None:
    (first, weights), (second, others) = (steps[stage] for steps, _, _ in answers)
    learner, expected = plain
    for (loss, norm), *reports in zip(expected, first, second, strict=True):
        merged = merge_reports(reports)
        # Ranks of unequal numbers of micro-batches are in `test_logits_pieces`.
        assert reports[0].sums.responses != reports[1].sums.responses
        assert merged.sums.responses == 9
        assert merged.loss == pytest.approx(loss, abs=1e-4)
        assert merged.grad_norm == pytest.approx(norm, rel=1e-3)
    assert weights == others
    found = {name: torch.tensor(values) for name, values in weights.items()}
    assert_same_weights(found, dict(learner.model.named_parameters()), SETTINGS["learning_rate"])


@pytest.mark.parametrize("stage", [1, 3])
def test_resuming_continues_as_if_nothing_happened(answers: list[Any], stage: int) -> None:
    (state, through, resumed), other_rank = (resumes[stage] for _, resumes, _ in answers)
    assert state == {"step": 1}
    assert resumed == through
    assert other_rank == (state, through, resumed)


def test_export_of_a_partitioned_policy(answers: list[Any], tiny_folder: Path, folder: Path) -> None:
    exported = dict(load(folder / "export").named_parameters())
    for name, parameter in load(tiny_folder).named_parameters():
        assert torch.equal(parameter, exported[name]), name


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", RECIPES)
def test_loss_and_gradients_of_every_objective(
    answers: list[Any],
    losses_of_one_rank: dict[int, dict[str, float]],
    expected: dict[str, Whole],
    folder: Path,
    name: str,
    stage: int,
    ranks: int,
) -> None:
    """Summed over ranks and micro-batches they are those of the whole batch, row by row in float64."""
    whole = expected[name]
    shares = [losses_of_one_rank] if ranks == 1 else [losses for _, _, losses in answers]
    loss = sum(share[stage][name] for share in shares)
    assert loss == pytest.approx(whole.loss, rel=1e-6)
    found = torch.load(two_ranks.gradients_file(folder, stage, ranks))[name]
    assert whole.kl > 1e-3
    for key, gradient in whole.gradients.items():
        assert gradient.norm() > 0, key
        error = (found[key].double() - gradient).norm()
        assert error <= 1e-5 * gradient.norm(), key
