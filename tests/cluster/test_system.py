"""Scoring by several reward workers: every response's score comes back to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from cluster.system import RewardPool, learner_settings
from data.failures import ActorFailure
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt
from tests.cluster.fakes import make_config

LETTERS = "ABCDE"


@pytest.fixture
def pool(ray_cluster: None) -> Iterator[RewardPool]:
    """Two workers, so that neighbouring prompts are scored in different processes."""
    custom = {Task.MULTIPLE_CHOICE: "tests.e2e.footage.share_of_low_letters"}
    pool = RewardPool(make_config(reward={"num_workers": 2, "custom": custom}))
    yield pool
    pool.shutdown()


def rollout(number: int) -> Rollout:
    """Question `number`, whose right answer is its letter; response i of `number` + 2 gives letter i."""
    prompt = VideoPrompt(
        f"p{number}",
        Task.MULTIPLE_CHOICE,
        "clip.mp4",
        "which?",
        {"answer": LETTERS[number]},
        4.0,
        tuple("vwxyz"),
    )
    responses = [
        Response(
            index, [1], f"<think>hm</think><answer>{LETTERS[index % 5]}</answer>", [-0.1], "stop", [(0, 1, 0)]
        )
        for index in range(number + 2)
    ]
    return Rollout(prompt, [1, 2], responses)


def test_scores_belong_to_their_own_prompt_and_response(pool: RewardPool) -> None:
    """Rewards swapped between two prompts would put the right answers in the wrong places."""
    scores = pool.score([rollout(number) for number in range(5)], by_rule=True)
    assert [[score.rewards["accuracy"] for score in group] for group in scores] == [
        [1, 0],
        [0, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 0],
    ]


def test_custom_functions_are_for_training_only(pool: RewardPool) -> None:
    ((trained, _),) = pool.score([rollout(0)])
    ((evaluated, _),) = pool.score([rollout(0)], by_rule=True)
    assert set(trained.rewards) == {"custom"}
    assert set(evaluated.rewards) == {"format", "accuracy"}


def test_a_reward_worker_that_died_is_named(pool: RewardPool) -> None:
    ray.kill(pool._workers["reward-1"])
    with pytest.raises(ActorFailure, match="reward-1 failed while scoring responses"):
        pool.score([rollout(number) for number in range(2)])


def test_the_learner_is_set_up_as_configured() -> None:
    config = make_config(
        learner={"zero_stage": 3, "adam_betas": (0.9, 0.95), "threads_per_worker": 2, "max_grad_norm": 0.5},
        grpo={"objective": "gspo", "clip_high": 0.3, "importance_correction": "mask", "importance_cap": 3.0},
        rollout={"temperature": 0.7},
        run={"seed": 6},
    )
    settings = learner_settings(config, total_steps=11, learning_rate=0.5, kl_coef=0.1)
    assert (settings.zero_stage, settings.betas, settings.cpu_threads) == (3, (0.9, 0.95), 2)
    assert (settings.clip_low, settings.clip_high) == (3e-4, 0.3)
    assert (settings.surrogate, settings.aggregation, settings.kl_estimator) == (
        "sequence_mean",
        "sequence",
        "k3",
    )
    assert (settings.importance_correction, settings.importance_cap) == ("mask", 3.0)
    assert settings.longest_response == config.rollout.max_response_tokens
    assert (settings.temperature, settings.seed, settings.max_grad_norm) == (0.7, 6, 0.5)
    assert (settings.total_steps, settings.learning_rate, settings.kl_coef) == (11, 0.5, 0.1)
