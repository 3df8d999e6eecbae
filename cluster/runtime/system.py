"""The actors of a run, started together and ended together: loaders, rollout workers, reward workers, learner ranks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from actors.caption_judge import JudgeReport
from actors.clip_pool import ClipPool
from actors.engine import EngineSettings
from actors.fleet import call, collect, stop
from actors.reward_worker import RewardWorker
from actors.rollout_fleet import FleetSettings, RolloutFleet, RolloutRequest, Submitted
from actors.video_loader import VideoLoader
from cluster.config import RunConfig
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.clips import UsableClips
from cluster.inputs.prompts import contract_of, prompt_style_of
from cluster.planning.placement import placement, share_gpus, threads
from cluster.progress.display import Progress
from cluster.runtime.judge_access import judge_settings
from cluster.runtime.reservation import Reservation
from data.clock import on_policy_clock
from data.encoding import VideoEncoder
from data.failures import ActorFailure
from data.records import Response, Rollout
from data.schema import Task, VideoPrompt
from learner.group import LearnerGroup
from learner.settings import LearnerSettings
from learner.weight_transport import TransferSettings
from rewards import Score
from rewards.clock import on_clip_clock
from rewards.scoring import withhold_lonely_bonus

GIB = 2**30
STOP_SECONDS = 5.0
# Ranks report a peer that is late before the driver gives all of them up.
GRACE_SECONDS = 10.0
SCORING = "scoring responses"
JUDGE_ADVICE = (
    "If it waited for the judge of captions: raise judge.requests_per_minute, judge.concurrency or reward.timeout_s. "
    "--resume goes on; what was judged is kept."
)


class RewardPool:
    """The reward workers.

    Args:
        warn: Told what keeps the judge of captions from judging, once for each kind of trouble.
        actor_options: Ray options of each worker's actor; None reserves what the configuration says.
    """

    def __init__(
        self,
        config: RunConfig,
        warn: Callable[[str], None],
        actor_options: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        reward = config.reward
        if actor_options is None:
            actor_options = [{"num_cpus": reward.cpus_per_worker}] * reward.num_workers
        custom = {str(task): path for task, path in reward.custom.items()}
        judge = judge_settings(config)
        scoring = (reward.mode, config.data.template, reward.options, reward.weights, custom, judge)
        self._workers = {
            f"reward-{index}": ray.remote(RewardWorker).options(**options).remote(*scoring)
            for index, options in enumerate(actor_options)
        }
        self._timeout_s, self._reward = config.reward.timeout_s, reward
        self._has_judge, self._warn = judge is not None, warn
        self._reports: list[JudgeReport] = []
        self._named: set[str] = set()

    def score(self, rollouts: Sequence[Rollout], by_rule: bool = False) -> list[list[Score]]:
        """The scores of each rollout's responses, in order.

        Args:
            by_rule: Leave the user's own functions out.

        Raises:
            ActorFailure: a worker died or took too long.
        """
        names, handles = list(self._workers), list(self._workers.values())
        count = len(handles)
        shares = [rollouts[index::count] for index in range(count)]
        items = [[item for rollout in share for item in _to_score(rollout)] for share in shares]
        refs = [handle.score.remote(its, by_rule) for handle, its in zip(handles, items, strict=True)]
        answers = collect(refs, names, SCORING, self._timeout_s, JUDGE_ADVICE if self._has_judge else "")
        if self._has_judge:
            self._take_reports()
        queues = [iter(answer) for answer in answers]
        groups = [
            [on_clip_clock(next(queues[i % count]), rollout.starts_at) for _ in rollout.responses]
            for i, rollout in enumerate(rollouts)
        ]
        if by_rule:
            return groups
        return [
            self._as_group(rollout.prompt.task, scores)
            for rollout, scores in zip(rollouts, groups, strict=True)
        ]

    @property
    def actors(self) -> dict[str, Any]:
        """Handles by name."""
        return dict(self._workers)

    def shutdown(self) -> None:
        """End the workers."""
        stop(self._workers, STOP_SECONDS)
        self._workers = {}

    def metrics(self) -> dict[str, float]:
        """The judge's counters as of the latest scoring; none for the lexical one."""
        return judge_metrics(self._reports)

    def _as_group(self, task: Task, scores: list[Score]) -> list[Score]:
        """What responses earn by their group alone; a function of the user's own decides by itself."""
        if task in self._reward.custom:
            return scores
        reward = self._reward
        return withhold_lonely_bonus(task, scores, reward.options.get(task, {}), reward.weights.get(task))

    def _take_reports(self) -> None:
        reports = call(
            self._workers, "judge_report", what="reporting on the judge", deadline_s=self._timeout_s
        )
        self._reports = list(reports.values())
        problems = {kind: text for report in self._reports for kind, text in report.problems.items()}
        for kind in sorted(problems.keys() - self._named):
            self._warn(problems[kind])
        self._named |= problems.keys()


class System:
    """What the stages of a run work with.

    Attributes:
        encoder: The driver's own, for texts and tokens; it never sees pixels.
        clips, rewards: The loaders' and the reward workers' driver sides.
        version: Weight version that the rollout workers serve.
        connected: Whether learner and rollout workers share a transfer group.
    """

    def __init__(
        self,
        config: RunConfig,
        progress: Progress,
        files: ClipFiles,
        model_path: Path | str,
        version: int = 0,
    ) -> None:
        """Start loaders, reward workers and, in the background, the rollout workers on `model_path`."""
        self.version = version
        self.connected = False
        self._config, self._progress = config, progress
        self._contract = contract_of(config)
        self._learner: LearnerGroup | None = None
        self._learner_starting: Future[None] = Future()
        self._loaders: dict[str, Any] = {}
        self._fleet: RolloutFleet | None = None
        self._reservation = Reservation(placement(config), config.rollout.start_timeout_s)
        # One thread for the rollout workers' start, one for the learner's.
        self._starter = ThreadPoolExecutor(2, thread_name_prefix="start")
        self._starting: Future[RolloutFleet] = self._starter.submit(
            RolloutFleet.start,
            self._engine_settings(model_path),
            self._fleet_settings(),
            version,
            self._reservation.options("rollout worker"),
        )
        self.encoder = VideoEncoder(model_path, self._contract, prompt_style_of(config))
        self.clips = UsableClips(
            files, self._start_loaders(), self.encoder, config.rollout.max_prompt_tokens, progress.warn
        )
        self.rewards = RewardPool(config, progress.warn, self._reservation.options("reward worker"))

    @property
    def fleet(self) -> RolloutFleet:
        """The rollout workers; waits for their start."""
        if self._fleet is None:
            count = self._config.rollout.num_workers
            with self._progress.waiting(f"starting {count} rollout worker{'s'[: count > 1]} (vLLM)"):
                self._fleet = self._starting.result()
        return self._fleet

    @property
    def learner(self) -> LearnerGroup:
        """The learner ranks; waits for their start."""
        if self._learner is None:
            raise RuntimeError("no learner: begin_learner() comes first")
        if not self._learner_starting.done():
            count = self._config.learner.num_workers
            with self._progress.waiting(f"starting {count} learner rank{'s'[: count > 1]} (DeepSpeed)"):
                wait([self._learner_starting])
        self._learner_starting.result()
        return self._learner

    def actors(self) -> dict[str, Any]:
        """Every actor there is now, by name.

        Raises:
            ActorFailure: the rollout workers did not come up.
        """
        if self._fleet is None and self._starting.done():
            error = self._starting.exception()
            if isinstance(error, ActorFailure):
                raise error
        fleet = self._fleet.workers if self._fleet else {}
        learner = self._learner.actors if self._learner else {}
        return {**self._loaders, **self.rewards.actors, **fleet, **learner}

    def begin_learner(self, model_path: Path | str, settings: LearnerSettings) -> None:
        """Start learner ranks on a model in the background, in place of those there may be."""
        former, self._learner = self._learner, None
        if former is not None:
            former.stop()
        self.connected = False
        section = self._config.learner
        learner = LearnerGroup(
            replace(settings, banned_token_ids=tuple(self.encoder.banned_token_ids)),
            str(model_path),
            functools.partial(VideoEncoder, str(model_path), self._contract, prompt_style_of(self._config)),
            self._reservation.options("learner rank"),
            section.step_timeout_s + GRACE_SECONDS,
            self._config.sync.timeout_s + GRACE_SECONDS,
        )
        self._learner = learner
        self._learner_starting = self._starter.submit(self._start_learner, learner)

    def submit(self, requests: Sequence[RolloutRequest], together: bool = True) -> list[Submitted]:
        """Submit groups to the rollout workers; does not wait for them.

        With a feature cache the learner, idle at this point of a synchronous run, first computes what the cache
        lacks, so that no frozen tower ever runs twice on a clip.
        """
        if self._config.learner.feature_cache_gib and self._learner is not None:
            # The learner never sees shuffled frames, so the engine's own tower runs on them.
            usual = [request for request in requests if request.shuffle_seed is None]
            digest = self.learner.compute_features([r.clip for r in usual], [r.prompt for r in usual])
            requests = [
                replace(request, tower_digest=digest) if request.shuffle_seed is None else request
                for request in requests
            ]
        return self.fleet.submit(requests, together)

    def features_found(self) -> int | None:
        """Groups that the present rollout workers sampled from a frozen tower's features; None without a cache.

        Raises:
            ActorFailure: a worker is dead or does not answer in time.
        """
        if not self._config.learner.feature_cache_gib:
            return None
        reports = self.fleet.check(self._config.rollout.request_timeout_s)
        return int(sum(report["features_found"] for report in reports.values()))

    def connect(self) -> float:
        """Join learner and rollout workers, and bring the workers to the learner's weights.

        The first transfer is verified: both sides digest every parameter. Returns the seconds it took.
        """
        sync = self._config.sync
        transfer = TransferSettings(
            backend=self._config.sync_backend,
            bucket_bytes=sync.bucket_mib << 20,
            timeout_s=sync.timeout_s,
            ranks_per_worker=self._config.rollout.tensor_parallel_size,
        )
        workers = self.fleet.workers
        with self._progress.waiting("first weight sync, checksums compared"):
            self.learner.init_weight_transfer(workers, transfer)
            seconds = self.learner.send_weights(self.version)
        self.connected = True
        return seconds

    def sync(self, version: int) -> float:
        """Put the learner's weights into service as `version`; returns the seconds it took."""
        if not self.connected:
            self.version = version
            return self.connect()
        seconds = self.learner.send_weights(version)
        self.version = version
        return seconds

    def shutdown(self) -> None:
        """End every actor. May be called in any state."""
        self._starter.shutdown(wait=False, cancel_futures=True)
        if self._fleet is None and self._starting.done() and not self._starting.exception():
            self._fleet = self._starting.result()
        if self._learner is not None:
            self._learner.stop()
        if self._fleet is not None:
            self._fleet.shutdown()
        self.rewards.shutdown()
        stop(self._loaders, STOP_SECONDS)
        self._reservation.release()

    def _start_learner(self, learner: LearnerGroup) -> None:
        if share_gpus(self._config):
            # While it starts, an engine takes what others allocate on its GPU for its own, and sizes its cache by that.
            self._starting.result()
        learner.start(self._config.learner.start_timeout_s)

    def _start_loaders(self) -> ClipPool:
        section = self._config.data
        self._loaders = {
            f"loader-{index}": ray.remote(VideoLoader)
            .options(**options)
            .remote(self._contract, section.decode_timeout_s)
            for index, options in enumerate(self._reservation.options("video loader"))
        }
        return ClipPool(self._loaders, int(section.cache_gib * GIB), section.decode_timeout_s)

    def _engine_settings(self, model_path: Path | str) -> EngineSettings:
        section = self._config.rollout
        return EngineSettings(
            model_path=str(model_path),
            weight_transfer=self._config.sync_backend,
            dtype=self._config.model.dtype,
            use_gpu=section.gpus_per_worker > 0,
            tensor_parallel_size=section.tensor_parallel_size,
            max_model_len=self._config.max_model_tokens,
            max_num_seqs=section.max_concurrent,
            gpu_memory_utilization=section.gpu_memory_utilization,
            kv_cache_gib=section.kv_cache_gib,
            threads=threads(section),
            feature_cache=str(self._config.feature_cache) if self._config.learner.feature_cache_gib else "",
        )

    def _fleet_settings(self) -> FleetSettings:
        section = self._config.rollout
        return FleetSettings(
            num_workers=section.num_workers,
            cpus_per_worker=section.cpus_per_worker,
            gpus_per_worker=section.gpus_per_worker,
            start_timeout_s=section.start_timeout_s,
            request_timeout_s=section.request_timeout_s,
        )


def _to_score(rollout: Rollout) -> list[tuple[VideoPrompt, Response]]:
    """The responses of a rollout, each with the prompt as the policy saw it."""
    prompt = on_policy_clock(rollout.prompt, rollout.starts_at)
    return [(prompt, response) for response in rollout.responses]


def judge_metrics(reports: Sequence[JudgeReport]) -> dict[str, float]:
    """The counters of all workers' judges together; none without one."""
    if not reports:
        return {}
    return {
        # Each reads the same file, at its own moment.
        "judge_requests": max(report.requests for report in reports),
        "judge_unreadable": sum(report.unreadable for report in reports),
        "judge_fallbacks": sum(report.fallbacks for report in reports),
    }


def learner_settings(
    config: RunConfig, total_steps: int, learning_rate: float, kl_coef: float
) -> LearnerSettings:
    """The learner's settings for one stage of a run."""
    section, grpo = config.learner, config.grpo
    settings = LearnerSettings(
        zero_stage=section.zero_stage,
        dtype=config.model.dtype,
        learning_rate=learning_rate,
        warmup_steps=section.warmup_steps,
        total_steps=total_steps,
        schedule=section.learning_rate_schedule,
        weight_decay=section.weight_decay,
        betas=section.adam_betas,
        max_grad_norm=section.max_grad_norm,
        micro_batch_tokens=section.micro_batch_tokens,
        gradient_checkpointing=section.gradient_checkpointing,
        offload_optimizer=section.offload_optimizer,
        freeze_vision=section.freeze_vision,
        lora_rank=section.lora_rank,
        lora_alpha=section.lora_alpha,
        feature_cache=str(config.feature_cache),
        feature_cache_bytes=int(section.feature_cache_gib * GIB),
        kl_coef=kl_coef,
        longest_response=config.rollout.max_response_tokens,
        importance_correction=grpo.importance_correction,
        importance_cap=grpo.importance_cap,
        temperature=config.rollout.temperature,
        seed=config.run.seed,
        cpu_threads=threads(section),
        timeout=section.step_timeout_s,
    )
    return settings.pursuing(config.recipe)
