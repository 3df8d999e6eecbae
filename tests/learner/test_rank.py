"""A rank alone, at every ZeRO stage, takes the steps of plain AdamW on separate rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.records import TrainSample
from data.transport import checksum
from learner.checkpoint import CheckpointError
from learner.rank import LearnerRank
from learner.rows import PromptMismatchError
from learner.settings import LearnerSettings
from tests.learner.compare import assert_same_weights, weights_of
from tests.learner.plain import PlainLearner, load, logprobs_of
from tests.learner.tiny import make_samples

StartRank = Callable[..., LearnerRank]
STAGES = [0, 1, 2, 3]
SETTINGS = {
    "learning_rate": 1e-3,
    "warmup_steps": 4,
    "weight_decay": 0.1,
    "micro_batch_tokens": 80,
    "max_grad_norm": 1.0,
}


def near_policy(samples: list[TrainSample], folder: Path, temperature: float = 1.0) -> list[TrainSample]:
    """Give samples log-probabilities near those of the policy, as a rollout has."""
    model = load(folder)
    with torch.no_grad():
        logprobs = [logprobs_of(model, sample, temperature, (5, 6)) for sample in samples]
    noise = torch.Generator().manual_seed(0)
    return [
        replace(sample, rollout_logprobs=(row + 0.3 * torch.randn(len(row), generator=noise)).tolist())
        for sample, row in zip(samples, logprobs, strict=True)
    ]


def step(rank: LearnerRank, samples: list[TrainSample], kind: str):  # type: ignore[no-untyped-def]
    tokens = sum(len(sample.response_token_ids) for sample in samples)
    return rank.step(samples, tokens, len(samples), kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", STAGES)
def test_steps_equal_plain_adamw(start_rank: StartRank, policy_folder: Path, stage: int) -> None:
    settings = SETTINGS | {
        "zero_stage": stage,
        "temperature": 0.8,
        "banned_token_ids": (5, 6),
        "kl_coef": 0.1,
    }
    rank, plain = start_rank(**settings), PlainLearner(policy_folder, LearnerSettings(**settings))
    for seed, kind in enumerate(["grpo", "sft"]):
        samples = near_policy(make_samples(3, 3, seed), policy_folder, 0.8)
        report = step(rank, samples, kind)
        loss, norm = plain.step(samples, kind)  # type: ignore[arg-type]
        assert report.loss == pytest.approx(loss, abs=1e-4)
        assert report.grad_norm == pytest.approx(norm, rel=1e-3)
        assert report.sums.micro_batches > 1
        assert report.sums.responses == len(samples)
    assert_same_weights(weights_of(rank), dict(plain.model.named_parameters()), settings["learning_rate"])


def test_advantages_off_by_one_response_change_the_step(start_rank: StartRank, policy_folder: Path) -> None:
    """Guards the test above: it can tell whose advantage a response got."""
    samples = near_policy(make_samples(3, 3), policy_folder)
    shifted = [
        replace(a, advantage=b.advantage) for a, b in zip(samples, samples[1:] + samples[:1], strict=True)
    ]
    reports = [step(start_rank(**SETTINGS), batch, "grpo") for batch in (samples, shifted)]
    assert reports[0].grad_norm != pytest.approx(reports[1].grad_norm, rel=1e-2)


def test_mismatch_is_one_on_policy_and_grows_with_the_gap(start_rank: StartRank) -> None:
    rank = start_rank(**SETTINGS, temperature=0.9, banned_token_ids=(5, 6, 7, 8))
    samples = make_samples(3, 2)
    logprobs = rank.logprobs(samples)
    exact = [replace(sample, rollout_logprobs=row) for sample, row in zip(samples, logprobs, strict=True)]
    off = [
        replace(sample, rollout_logprobs=[value - 0.1 for value in row])
        for sample, row in zip(samples, logprobs, strict=True)
    ]
    report = step(rank, exact, "grpo")
    assert report.mismatch == pytest.approx(1.0, abs=1e-6)
    assert report.clipped_fraction == 0
    assert (
        step(start_rank(**SETTINGS, temperature=0.9, banned_token_ids=(5, 6, 7, 8)), off, "grpo").mismatch
        > 1.1
    )


def test_a_wrong_prompt_stops_the_step_by_name(start_rank: StartRank) -> None:
    samples = make_samples(1, 2)
    samples[1] = replace(samples[1], prompt_token_ids=[1, 2, 3])
    with pytest.raises(PromptMismatchError, match="prompt-0-0"):
        step(start_rank(), samples, "grpo")


def test_frozen_tower_stays_and_the_rest_moves(start_rank: StartRank, policy_folder: Path) -> None:
    rank = start_rank(**SETTINGS, freeze_vision=True)
    step(rank, make_samples(2, 2, supervised=True), "sft")
    before = dict(load(policy_folder).named_parameters())
    for name, tensor in weights_of(rank).items():
        assert torch.equal(tensor, before[name]) == name.startswith("model.visual."), name


def test_zero_3_partitions_the_tiny_policy_too(start_rank: StartRank) -> None:
    """Guards all tests of stage 3: no parameter, however small, stays whole on every rank."""
    policy = start_rank(zero_stage=3).policy
    assert not any(parameter.ds_persist for parameter in policy.parameters())


def test_bfloat16_takes_a_step_close_to_float32(start_rank: StartRank) -> None:
    samples = make_samples(2, 3, supervised=True)
    reports = [step(start_rank(**SETTINGS, dtype=dtype), samples, "sft") for dtype in ("float32", "bfloat16")]
    assert reports[0].loss == pytest.approx(reports[1].loss, rel=0.02)
    assert reports[0].grad_norm == pytest.approx(reports[1].grad_norm, rel=0.1)


@pytest.mark.parametrize("stage", [1, 3])
def test_rotary_frequencies_stay_float32(start_rank: StartRank, policy_folder: Path, stage: int) -> None:
    expected = dict(load(policy_folder).named_buffers())
    found = dict(start_rank(zero_stage=stage, dtype="bfloat16").policy.named_buffers())
    assert found.keys() == expected.keys() and any("inv_freq" in name for name in found)
    for name, buffer in found.items():
        torch.testing.assert_close(buffer, expected[name], atol=0, rtol=0)


@pytest.mark.parametrize("stage", STAGES)
def test_resuming_continues_as_if_nothing_happened(start_rank: StartRank, tmp_path: Path, stage: int) -> None:
    settings = SETTINGS | {"zero_stage": stage}
    batches = [make_samples(2, 3, seed, supervised=True) for seed in range(4)]
    through = start_rank(**settings)
    for batch in batches[:2]:
        step(through, batch, "sft")
    through.save_checkpoint(str(tmp_path), {"prompts_seen": 12})
    expected = [step(through, batch, "sft") for batch in batches[2:]]

    resumed = start_rank(**settings)
    state, problems = resumed.load_checkpoint(str(tmp_path))
    assert (state, problems) == ({"prompts_seen": 12}, [])
    reports = [step(resumed, batch, "sft") for batch in batches[2:]]
    assert [report.scalars() for report in reports] == [report.scalars() for report in expected]
    assert [report.step for report in reports] == [3, 4]
    assert resumed.weight_checksums() == through.weight_checksums()


def test_a_torn_checkpoint_is_skipped_by_name(start_rank: StartRank, tmp_path: Path) -> None:
    rank = start_rank(**SETTINGS)
    for seed in range(2):
        step(rank, make_samples(1, 2, seed, supervised=True), "sft")
        newest = Path(rank.save_checkpoint(str(tmp_path), {"step": seed}))
    torn = max(newest.glob("*.pt"), key=lambda path: path.stat().st_size)
    torn.write_bytes(torn.read_bytes()[:-100])
    state, problems = start_rank(**SETTINGS).load_checkpoint(str(tmp_path))
    assert state == {"step": 0}
    assert len(problems) == 1 and newest.name in problems[0] and torn.name in problems[0]


def test_a_checkpoint_of_other_ranks_is_refused(start_rank: StartRank, tmp_path: Path) -> None:
    rank = start_rank(**SETTINGS, zero_stage=1)
    path = Path(rank.save_checkpoint(str(tmp_path), {}))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["layout"]["learner ranks"] = 2
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="learner ranks was 2, is 1"):
        rank.load_checkpoint(str(tmp_path))


def test_nothing_to_resume_from(start_rank: StartRank, tmp_path: Path) -> None:
    assert start_rank().load_checkpoint(str(tmp_path / "never")) == (None, [])


@pytest.mark.parametrize("stage", [1, 3])
def test_checksums_are_those_of_the_checkpoint(
    start_rank: StartRank, policy_folder: Path, stage: int
) -> None:
    expected = {name: checksum(tensor) for name, tensor in load(policy_folder).named_parameters()}
    assert start_rank(zero_stage=stage).weight_checksums() == expected


@pytest.mark.parametrize("stage", [2, 3])
def test_an_offloaded_optimizer_goes_on_in_bfloat16(start_rank: StartRank, stage: int) -> None:
    """Its float32 master weights are on the host: steps go as they do without."""
    samples = make_samples(2, 3, supervised=True)
    half = SETTINGS | {"zero_stage": stage, "dtype": "bfloat16", "learning_rate": 1e-2}
    here, there = start_rank(**half), start_rank(**half, offload_optimizer=True)
    reports = [[step(rank, samples, "sft") for _ in range(3)] for rank in (here, there)]
    for mine, its in zip(*reports, strict=True):
        assert mine.loss == pytest.approx(its.loss, rel=0.02)
        assert mine.grad_norm == pytest.approx(its.grad_norm, rel=0.2)
    # It moved, and by more than the two differ.
    assert reports[1][2].loss < 0.9 * reports[1][0].loss


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_an_offloaded_optimizer_takes_the_same_step(
    start_rank: StartRank, policy_folder: Path, stage: int
) -> None:
    """DeepSpeed's own CPU Adam on partitions it keeps on the host; the first use compiles it."""
    samples = make_samples(2, 3, supervised=True)
    rank = start_rank(**SETTINGS, zero_stage=stage, offload_optimizer=True)
    report = step(rank, samples, "sft")
    plain = PlainLearner(policy_folder, LearnerSettings(**SETTINGS))  # type: ignore[arg-type]
    loss, norm = plain.step(samples, "sft")
    assert report.loss == pytest.approx(loss, abs=1e-4)
    assert report.grad_norm == pytest.approx(norm, rel=1e-3)
    assert_same_weights(weights_of(rank), dict(plain.model.named_parameters()), 1e-3)
