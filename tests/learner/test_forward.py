"""Packed, chunked log-probabilities equal those of one row at a time with full logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from data.records import TrainSample
from learner import forward
from learner.batching import plan_micro_batches
from learner.forward import ResponseScorer, lay_out
from learner.policy import load_policy
from learner.rows import Row, build_rows
from learner.settings import LearnerSettings
from tests.learner.plain import load, logits_of, logprobs_of
from tests.learner.tiny import VIDEO_TOKEN, RandomEncoder, make_samples

BANNED = (5, 6, 7, 8)
CPU = torch.device("cpu")


def load_as_learner(folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    return load_policy(str(folder), LearnerSettings(), {})


@pytest.fixture(scope="module")
def model(policy_folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    return load_as_learner(policy_folder)


@pytest.fixture(scope="module")
def plain(policy_folder: Path) -> Qwen2_5_VLForConditionalGeneration:
    return load(policy_folder)


def rows_of(samples: Sequence[TrainSample]) -> list[Row]:
    return build_rows(samples, [sample.clip for sample in samples], RandomEncoder())


def score(
    scorer: ResponseScorer, rows: Sequence[Row], budget: int, **options: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Log-probabilities and entropies per row, through micro-batches of `budget` tokens."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for packs in plan_micro_batches([row.size for row in rows], budget):
        batch = lay_out([[rows[row] for row in pack] for pack in packs], CPU)
        scores = scorer(batch, **options)
        split = zip(
            scores.logprobs.split(batch.lengths.tolist()),
            scores.entropy.split(batch.lengths.tolist()),
            strict=True,
        )
        found |= dict(zip((row for pack in packs for row in pack), split, strict=True))
    return [found[row][0] for row in range(len(rows))], [found[row][1] for row in range(len(rows))]


@pytest.mark.parametrize("budget", [1, 70, 200, 10_000])
def test_equals_separate_rows_with_full_logits(
    model: Qwen2_5_VLForConditionalGeneration, plain: Qwen2_5_VLForConditionalGeneration, budget: int
) -> None:
    samples = make_samples(4, 3)
    with torch.no_grad():
        logprobs, entropies = score(ResponseScorer(model, BANNED), rows_of(samples), budget, temperature=0.7)
        for sample, found, entropy in zip(samples, logprobs, entropies, strict=True):
            torch.testing.assert_close(found, logprobs_of(plain, sample, 0.7, BANNED), atol=2e-5, rtol=0)
            logits = logits_of(plain, sample) / 0.7
            logits[:, list(BANNED)] = -torch.inf
            expected = torch.distributions.Categorical(logits=logits).entropy()
            torch.testing.assert_close(entropy, expected, atol=2e-5, rtol=0)


def test_gradients_equal_those_of_separate_rows(policy_folder: Path) -> None:
    """The vision tower included, whose features several responses share."""
    samples = make_samples(2, 3)
    packed, plain = load_as_learner(policy_folder), load(policy_folder)
    logprobs, _ = score(ResponseScorer(packed), rows_of(samples), 10_000)
    torch.cat(logprobs).sum().backward()
    torch.cat([logprobs_of(plain, sample) for sample in samples]).sum().backward()
    expected = dict(plain.named_parameters())
    for name, parameter in packed.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name].grad, atol=2e-3, rtol=2e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert packed.model.visual.patch_embed.proj.weight.grad.abs().max() > 0


def test_other_packs_change_nothing(model: Qwen2_5_VLForConditionalGeneration) -> None:
    rows = rows_of(make_samples(3, 2))
    packs = [rows[:2], rows[2:3], rows[3:4]]
    batch = lay_out(packs, CPU)
    scorer = ResponseScorer(model)
    first = len(rows[0].prompt.token_ids) + sum(len(row.response) for row in rows[:2])
    tokens = sum(len(row.response) for row in rows[:2])
    with torch.no_grad():
        before = scorer(batch).logprobs
        batch.input_ids[0, first:] = torch.where(batch.input_ids[0, first:] == VIDEO_TOKEN, VIDEO_TOKEN, 33)
        batch.position_ids[:, 0, first:] += 40
        after = scorer(batch).logprobs
    assert torch.equal(before[:tokens], after[:tokens])
    assert not torch.allclose(before[tokens:], after[tokens:])


def test_other_responses_of_a_pack_change_nothing(model: Qwen2_5_VLForConditionalGeneration) -> None:
    rows = rows_of(make_samples(1, 3))
    scorer = ResponseScorer(model)
    with torch.no_grad():
        before = scorer(lay_out([rows], CPU)).logprobs
        other = Row(
            rows[0].prompt_key, rows[0].prompt, [50] * len(rows[0].response), rows[0].rollout_logprobs, 0.0
        )
        after = scorer(lay_out([[other, *rows[1:]]], CPU)).logprobs
    first = len(rows[0].response)
    assert torch.equal(before[first:], after[first:])
    assert not torch.allclose(before[:first], after[:first])


def test_tower_runs_once_per_clip(
    model: Qwen2_5_VLForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(make_samples(2, 4))
    patches = []
    original = model.model.visual.forward
    monkeypatch.setattr(
        model.model.visual, "forward", lambda x, *a, **k: (patches.append(len(x)), original(x, *a, **k))[1]
    )
    with torch.no_grad():
        score(ResponseScorer(model), rows, 10_000)
    distinct = {row.prompt_key: row.prompt.pixel_values_videos for row in rows}
    assert patches == [sum(len(pixels) for pixels in distinct.values())]


def test_logits_in_pieces_change_nothing(policy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = make_samples(2, 2)
    whole, pieces = load_as_learner(policy_folder), load_as_learner(policy_folder)
    expected, _ = score(ResponseScorer(whole), rows_of(samples), 10_000)
    torch.cat(expected).sum().backward()
    monkeypatch.setattr(forward, "LOGITS_BYTES", 3 * 4 * 96)
    found, _ = score(ResponseScorer(pieces), rows_of(samples), 10_000)
    torch.cat(found).sum().backward()
    torch.testing.assert_close(torch.cat(found), torch.cat(expected))
    torch.testing.assert_close(pieces.lm_head.weight.grad, whole.lm_head.weight.grad, atol=1e-5, rtol=1e-4)


def test_a_rank_with_few_tokens_makes_as_many_pieces_as_the_one_with_most(
    policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than it has tokens included; what it computes is the same."""
    rows = rows_of(make_samples(1, 1))
    tokens = len(rows[0].response)
    whole, pieces = load_as_learner(policy_folder), load_as_learner(policy_folder)
    expected = ResponseScorer(whole)(lay_out([rows], CPU)).logprobs
    expected.sum().backward()
    monkeypatch.setattr(forward, "LOGITS_BYTES", 4 * 96)
    seen: list[int] = []
    pieces.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    found = ResponseScorer(pieces)(lay_out([rows], CPU, most_tokens=tokens + 3)).logprobs
    assert seen == [1] * tokens + [0] * 3
    found.sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(pieces.lm_head.weight.grad, whole.lm_head.weight.grad, atol=1e-5, rtol=1e-4)


def test_only_response_positions_reach_the_head(
    model: Qwen2_5_VLForConditionalGeneration, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(make_samples(2, 2))
    seen = []
    hook = model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    with torch.no_grad():
        score(ResponseScorer(model), rows, 10_000)
    hook.remove()
    assert seen == [sum(len(row.response) for row in rows)]
