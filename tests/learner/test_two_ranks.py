"""Two ranks with uneven shares take the steps of plain AdamW on the whole batch, at every ZeRO stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from learner.forward import TokenScores, lay_out
from learner.losses import micro_batch_loss
from learner.recipes import RECIPES
from learner.report import merge_reports
from learner.rows import build_rows
from learner.settings import LearnerSettings
from tests.learner import two_ranks
from tests.learner.compare import assert_same_weights
from tests.learner.conftest import free_port
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
def answers(policy_folder: Path, tiny_folder: Path, folder: Path) -> list[Any]:
    each = {stage: SETTINGS | {"zero_stage": stage} for stage in STAGES}
    return two_ranks.run(two_ranks.everything, free_port(), policy_folder, tiny_folder, folder, each)


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
    (first, weights), (second, others) = (steps[stage] for steps, _ in answers)
    learner, expected = plain
    for (loss, norm), *reports in zip(expected, first, second, strict=True):
        merged = merge_reports(reports)
        assert reports[0].sums.micro_batches != reports[1].sums.micro_batches
        assert merged.sums.responses == 9
        assert merged.loss == pytest.approx(loss, abs=1e-4)
        assert merged.grad_norm == pytest.approx(norm, rel=1e-3)
    assert weights == others
    found = {name: torch.tensor(values) for name, values in weights.items()}
    assert_same_weights(found, dict(learner.model.named_parameters()), SETTINGS["learning_rate"])


@pytest.mark.parametrize("stage", [1, 3])
def test_resuming_continues_as_if_nothing_happened(answers: list[Any], stage: int) -> None:
    (state, through, resumed), other_rank = (resumes[stage] for _, resumes in answers)
    assert state == {"step": 1}
    assert resumed == through
    assert other_rank == (state, through, resumed)


def test_export_of_a_partitioned_policy(answers: list[Any], tiny_folder: Path, folder: Path) -> None:
    exported = dict(load(folder / "export").named_parameters())
    for name, parameter in load(tiny_folder).named_parameters():
        assert torch.equal(parameter, exported[name]), name


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", RECIPES)
def test_gradients_of_every_objective(
    answers: list[Any], policy_folder: Path, folder: Path, name: str, stage: int
) -> None:
    """Summed over ranks and micro-batches they are those of the whole batch, row by row in float64."""
    found = torch.load(folder / f"gradients-{stage}.pt")[name]
    samples, config = make_samples(3, 3, 7), two_ranks.objective_settings(name)
    model = load(policy_folder).double()
    flat = torch.cat([logprobs_of(model, sample) for sample in samples])
    rows = build_rows(samples, [sample.clip for sample in samples], RandomEncoder())  # type: ignore[arg-type]
    batch = lay_out([[row] for row in rows], torch.device("cpu"))
    scores = TokenScores(flat, torch.zeros_like(flat))
    micro_batch_loss(batch, scores, None, "grpo", config, len(flat), len(rows))[0].backward()
    expected = {key: parameter.grad for key, parameter in model.named_parameters()}
    whole = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    assert whole > 0
    for key, gradient in expected.items():
        error = (found[key].double() - gradient).norm()
        assert error <= 1e-5 * max(gradient.norm(), 0.01 * whole), key
