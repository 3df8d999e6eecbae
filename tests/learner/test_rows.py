"""What a rollout and the learner must agree on is checked, and a difference names its prompt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data.records import TrainSample
from learner.rows import PromptMismatchError, build_rows, response_positions
from tests.learner.tiny import VIDEO_TOKEN, RandomEncoder, make_samples


def build(samples: list[TrainSample]) -> RandomEncoder:
    encoder = RandomEncoder()
    build_rows(samples, [sample.clip for sample in samples], encoder)
    return encoder


def test_each_prompt_is_encoded_once() -> None:
    assert build(make_samples(3, 4)).calls == ["prompt-0-0", "prompt-0-1", "prompt-0-2"]


def test_other_prompt_tokens_name_the_prompt_and_the_place() -> None:
    samples = make_samples(2, 2)
    tokens = list(samples[3].prompt_token_ids)
    tokens[-1] = 9
    samples[3] = replace(samples[3], prompt_token_ids=tokens)
    with pytest.raises(
        PromptMismatchError, match=rf"'prompt-0-1'.*token {len(tokens) - 1} is 9 for the rollout"
    ):
        build(samples)


def test_other_prompt_length_names_the_prompt() -> None:
    samples = make_samples(1, 2)
    samples[0] = replace(samples[0], prompt_token_ids=samples[0].prompt_token_ids[:-1])
    with pytest.raises(PromptMismatchError, match=r"'prompt-0-0'.*rollout engine saw \d+ prompt tokens"):
        build(samples)


def test_a_supervised_sample_brings_no_prompt_tokens() -> None:
    build([replace(sample, prompt_token_ids=[]) for sample in make_samples(1, 2, supervised=True)])


def test_placeholders_must_equal_features() -> None:
    class Miscounting(RandomEncoder):
        def encode(self, prompt, clip):  # type: ignore[no-untyped-def]
            return replace(super().encode(prompt, clip), num_video_tokens=3)

    samples = make_samples(1, 1)
    with pytest.raises(PromptMismatchError, match=r"'prompt-0-0'.*video placeholders.*gives 3 features"):
        build_rows(samples, [samples[0].clip], Miscounting())


def test_a_sampled_placeholder_is_refused() -> None:
    samples = make_samples(1, 1)
    samples[0] = replace(samples[0], response_token_ids=[11, VIDEO_TOKEN], rollout_logprobs=[-1.0, -1.0])
    with pytest.raises(PromptMismatchError, match="video placeholder"):
        build(samples)


def test_one_log_probability_per_token() -> None:
    samples = make_samples(1, 1)
    samples[0] = replace(samples[0], rollout_logprobs=[*samples[0].rollout_logprobs, -1.0])
    with pytest.raises(PromptMismatchError, match="log-probabilities"):
        build(samples)


def test_text_after_a_long_clip_starts_past_its_last_time() -> None:
    prompt = torch.tensor([[0, 1, 9], [0, 1, 2], [0, 1, 3]])
    assert response_positions(prompt, 2).tolist() == [[10, 11]] * 3
