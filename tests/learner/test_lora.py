"""LoRA at every ZeRO stage: adapters train, everybody else sees whole weights, the reference is the policy before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from learner.lora import adapters_off, add_adapters, named_weights
from learner.rank import LearnerRank
from tests.learner.compare import weights_of
from tests.learner.plain import load, logprobs_of
from tests.learner.test_rank import near_policy, step
from tests.learner.tiny import make_samples

StartRank = Callable[..., LearnerRank]
LORA = {"lora_rank": 4, "lora_alpha": 8, "learning_rate": 1e-2, "kl_coef": 0.1, "micro_batch_tokens": 80}
STAGES = [0, 1, 2, 3]


def test_weights_keep_their_names_and_values(policy_folder: Path) -> None:
    plain, adapted = load(policy_folder), load(policy_folder)
    add_adapters(adapted, rank=4, alpha=8)
    expected = dict(plain.named_parameters())
    weights = named_weights(adapted)
    assert [weight.name for weight in weights] == list(expected)
    assert all(torch.equal(weight.merge(), expected[weight.name]) for weight in weights)
    layers, projections = plain.config.text_config.num_hidden_layers, 7
    assert sum(weight.adapter is not None for weight in weights) == layers * projections
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(trainable) == 2 * layers * projections
    assert all(".lora_" in name and "visual" not in name for name in trainable)


@pytest.mark.parametrize("stage", STAGES)
def test_merged_weights_are_the_policy_that_was_trained(
    start_rank: StartRank, policy_folder: Path, stage: int
) -> None:
    """What is sent, checked and exported, in a model that knows no adapters, scores as the rank does."""
    samples = near_policy(make_samples(3, 3), policy_folder)
    rank = start_rank(**LORA, zero_stage=stage)
    reports = [step(rank, samples, "grpo") for _ in range(3)]
    plain = load(policy_folder)
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    merged = weights_of(rank)
    moved = [name for name, tensor in merged.items() if not torch.equal(tensor, before[name])]
    assert moved and all("_proj.weight" in name and "visual" not in name for name in moved)
    plain.load_state_dict(merged, strict=False)
    with torch.no_grad():
        expected = [logprobs_of(plain, sample) for sample in samples]
    for found, wanted in zip(rank.logprobs(samples), expected, strict=True):
        torch.testing.assert_close(torch.tensor(found), wanted, atol=2e-5, rtol=0)
    # The first step's reference is the policy itself; later ones' is what it was.
    assert reports[0].kl == pytest.approx(0.0, abs=1e-9)
    assert reports[2].kl > 1e-4


def test_stages_agree(start_rank: StartRank, policy_folder: Path) -> None:
    samples = near_policy(make_samples(3, 3), policy_folder)
    found = []
    for stage in STAGES:
        rank = start_rank(**LORA, zero_stage=stage)
        found.append([step(rank, samples, "grpo") for _ in range(3)])
    for reports in found[1:]:
        for mine, its in zip(reports, found[0], strict=True):
            assert (mine.loss, mine.grad_norm) == (
                pytest.approx(its.loss, abs=1e-5),
                pytest.approx(its.grad_norm, rel=1e-3),
            )
            assert mine.kl == pytest.approx(its.kl, rel=1e-2, abs=1e-8)


def test_adapters_off_is_the_base_and_on_again_trains(policy_folder: Path) -> None:
    model, sample = load(policy_folder), make_samples(1, 1)[0]
    expected = logprobs_of(model, sample)
    add_adapters(model, rank=4, alpha=8)
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter)
    assert not torch.allclose(logprobs_of(model, sample), expected)
    with adapters_off(model):
        torch.testing.assert_close(logprobs_of(model, sample), expected)
    logprobs_of(model, sample).sum().backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if ".lora_" in name)


@pytest.mark.parametrize("stage", [1, 3])
def test_resuming_and_exporting(start_rank: StartRank, tiny_folder: Path, tmp_path: Path, stage: int) -> None:
    samples = make_samples(2, 2, supervised=True)
    rank = start_rank(**LORA, zero_stage=stage)
    step(rank, samples, "sft")
    rank.save_checkpoint(str(tmp_path / "checkpoints"), {"step": 1})
    through = step(rank, samples, "sft").loss
    again = start_rank(**LORA, zero_stage=stage)
    assert again.load_checkpoint(str(tmp_path / "checkpoints"))[0] == {"step": 1}
    assert step(again, samples, "sft").loss == pytest.approx(through, rel=1e-5)

    exporting = start_rank(tiny_folder, **LORA, zero_stage=stage)
    exporting.export_hf(str(tmp_path / "policy"))
    model, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "policy", dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    exported = dict(model.named_parameters())
    assert all(torch.equal(exported[name], tensor) for name, tensor in exporting.weights)
