"""Scoring by several reward workers: every response's score comes back to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
import ray

from actors.caption_judge import JudgeReport
from actors.reward_worker import RewardWorker
from cluster.runtime import system
from cluster.runtime.judge_access import judge_settings
from cluster.runtime.system import RewardPool, judge_metrics, learner_settings
from data.failures import ActorFailure
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt
from tests.cluster.fakes import make_config

LETTERS = "ABCDE"


@pytest.fixture
def pool(ray_cluster: None) -> Iterator[RewardPool]:
    """Two workers, so that neighbouring prompts are scored in different processes."""
    custom = {Task.MULTIPLE_CHOICE: "tests.e2e.footage.share_of_low_letters"}
    pool = RewardPool(make_config(reward={"num_workers": 2, "custom": custom}), print)
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


def test_a_group_with_one_right_response_earns_no_length_bonus(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {Task.MULTIPLE_CHOICE: {"length_bonus": 0.2, "length_bonus_min_tokens": 1}}
    worker = RewardWorker(options=options)
    actor = SimpleNamespace(score=SimpleNamespace(remote=worker.score))
    remote = SimpleNamespace(options=lambda **given: SimpleNamespace(remote=lambda *given: actor))
    monkeypatch.setattr(system, "ray", SimpleNamespace(remote=lambda actor: remote))
    monkeypatch.setattr(system, "collect", lambda answers, *rest: answers)
    pool = RewardPool(make_config(reward={"options": options}), print)
    # The second group has its right answer twice: its sixth letter is the first again.
    one, two = rollout(1), rollout(4)
    groups = pool.score([one, replace(two, prompt=rollout(0).prompt)])
    assert [[score.rewards["length_bonus"] for score in group] for group in groups] == [
        [0, 0, 0],
        [0.2, 0, 0, 0, 0, 0.2],
    ]
    assert [score.total for score in groups[0]] == [1, 2, 1]


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


def test_what_saves_memory_and_time_is_set_up_as_configured() -> None:
    frozen = {
        "gradient_checkpointing": True,
        "offload_optimizer": True,
        "freeze_vision": True,
        "feature_cache_gib": 2.0,
    }
    settings = learner_settings(make_config(learner=frozen), 1, 0.5, 0.0)
    assert settings.gradient_checkpointing and settings.offload_optimizer and settings.freeze_vision
    assert settings.feature_cache_bytes == 2 << 30
    plain = learner_settings(make_config(), 1, 0.5, 0.0)
    assert not (plain.gradient_checkpointing or plain.offload_optimizer or plain.freeze_vision)
    lora = learner_settings(make_config(learner={"lora_rank": 4, "lora_alpha": 12}), 1, 0.5, 0.0)
    assert (plain.lora_rank, lora.lora_rank, lora.lora_alpha) == (0, 4, 12)


ENDPOINT = {"base_url": "http://host/v1", "model": "m"}


def test_reward_workers_share_what_the_judge_may_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "s3cret")
    judge = {**ENDPOINT, "api_key_variable": "JUDGE_KEY", "concurrency": 8, "requests_per_minute": 90.0}
    config = make_config(judge=judge, reward={"num_workers": 3}, run={"name": "x", "output_dir": "somewhere"})
    settings = judge_settings(config)
    assert settings is not None
    assert (settings.base_url, settings.model, settings.api_key) == ("http://host/v1", "m", "s3cret")
    assert (settings.concurrency, settings.requests_per_minute) == (2, 30.0)
    assert settings.max_requests == config.judge.max_requests, "counted in one file"
    assert settings.cache.endswith("/somewhere/x/judge.sqlite") and settings.cache.startswith("/")


def test_without_a_key_variable_no_key_is_sent() -> None:
    settings = judge_settings(make_config(judge=ENDPOINT))
    assert settings is not None and settings.api_key == ""
    assert judge_settings(make_config()) is None


def test_the_counters_of_all_judges_are_taken_together() -> None:
    reports = [JudgeReport(requests=7, unreadable=1, fallbacks=2), JudgeReport(requests=9, fallbacks=3)]
    assert judge_metrics(reports) == {"judge_requests": 9, "judge_unreadable": 1, "judge_fallbacks": 5}
    assert judge_metrics([]) == {}


class TroubledWorker:
    """A reward worker in this process, whose judge fails in another way the second time."""

    def __init__(self) -> None:
        self.asked = 0
        self.score = self.judge_report = self

    def options(self, **options: object) -> TroubledWorker:
        return TroubledWorker()

    def remote(self, *arguments: object) -> TroubledWorker:
        return self

    def report(self) -> JudgeReport:
        self.asked += 1
        problems = {"BudgetSpent": "no money"} | ({"UnreadableAnswer": "no sense"} if self.asked > 1 else {})
        return JudgeReport(fallbacks=2 * self.asked, problems=problems)


def test_trouble_with_the_judge_is_told_once_for_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(system, "ray", SimpleNamespace(remote=lambda actor: TroubledWorker()))
    monkeypatch.setattr(system, "collect", lambda refs, *rest: [[] for _ in refs])
    monkeypatch.setattr(
        system, "call", lambda workers, *rest, **more: {n: w.report() for n, w in workers.items()}
    )
    pool = RewardPool(make_config(reward={"num_workers": 2}, judge=ENDPOINT), told.append)
    pool.score([])
    assert told == ["no money"]
    pool.score([])
    pool.score([])
    assert told == ["no money", "no sense"]
    assert pool.metrics()["judge_fallbacks"] == 12


@pytest.mark.parametrize(("gib", "found"), [(0.0, None), (1.0, 5)])
def test_features_found_are_those_of_all_workers(gib: float, found: int | None) -> None:
    """Nobody is asked without a cache."""
    config = make_config(learner={"freeze_vision": True, "feature_cache_gib": gib})
    asked: list[float] = []

    def check(deadline_s: float) -> dict[str, dict[str, float]]:
        asked.append(deadline_s)
        return {"rollout-0": {"features_found": 2}, "rollout-1": {"features_found": 3}}

    this = SimpleNamespace(_config=config, fleet=SimpleNamespace(check=check))
    assert system.System.features_found(this) == found  # type: ignore[arg-type]
    assert bool(asked) == (found is not None)


def test_answers_to_a_picture_that_starts_late_are_scored_on_the_policys_clock(pool: RewardPool) -> None:
    prompt = VideoPrompt("p", Task.TEMPORAL_GROUNDING, "late.mp4", "it", {"interval": [6.0, 8.0]}, 12.0)
    response = Response(0, [1], "<think>hm</think><answer>2 to 4</answer>", [-0.1], "stop", [(0, 1, 0)])
    for starts_at, iou, interval in ((4.0, 1.0, [6.0, 8.0]), (0.0, 0.0, (2.0, 4.0))):
        ((score,),) = pool.score([Rollout(prompt, [1], [response], starts_at=starts_at)], by_rule=True)
        assert (score.rewards["iou"], score.prediction) == (iou, {"interval": interval})
