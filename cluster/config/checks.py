"""Mistakes between fields: values that are each allowed and cannot be run together."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cluster.config import RunConfig
from cluster.config.data_checks import DATA_CHECKS
from cluster.config.problems import Problem
from cluster.config.reward_checks import reward_contradictions
from data.sampling import TOKEN_PIXELS
from rewards import Scorer

# A prompt's text beside its video: question, options, instruction and chat layout, tokens.
TEXT_TOKENS = 128


def contradictions(config: RunConfig) -> Iterator[Problem]:
    """Every mistake between the fields of a configuration; nothing outside it is looked at."""
    for check in _CHECKS:
        yield from check(config)


def most_video_tokens(config: RunConfig) -> int:
    """Upper bound of the tokens of one clip under the sampling contract.

    A token covers 28 x 28 pixels of two frames; how large frames may be depends on their number, as
    `data.sampling.SamplingContract.choose_size` has it.
    """
    video, most = config.video, 0
    for pairs in range(1, video.max_frames // 2 + 1):
        frame = max(min(video.max_pixels, video.total_pixels // pairs), int(video.min_pixels * 1.05))
        most = max(most, pairs * (frame // TOKEN_PIXELS))
    return most


def _group(config: RunConfig) -> Iterator[Problem]:
    if config.run.algorithm == "grpo" and config.rollout.group_size < 2:
        yield Problem(
            ("rollout.group_size",),
            "GRPO compares the responses of a group with each other; it needs at least 2",
        )


def _batch(config: RunConfig) -> Iterator[Problem]:
    ranks = config.learner.num_workers
    # Ranks share by work, so that shares need not be equal; but none may be empty.
    grpo = config.grpo
    responses = grpo.prompts_per_step // grpo.updates_per_step * config.rollout.group_size
    if config.run.algorithm == "grpo" and grpo.updates_per_step > grpo.prompts_per_step:
        yield Problem(
            ("grpo.updates_per_step", "grpo.prompts_per_step"),
            f"{grpo.prompts_per_step} groups cannot be shared by {grpo.updates_per_step} updates",
        )
    elif config.run.algorithm == "grpo" and responses < ranks:
        yield Problem(
            ("grpo.prompts_per_step", "grpo.updates_per_step", "rollout.group_size", "learner.num_workers"),
            f"{responses} responses per update cannot be shared by {ranks} learner ranks",
        )
    if config.has_cold_start and config.cold_start.batch_size < ranks:
        yield Problem(
            ("cold_start.batch_size", "learner.num_workers"),
            f"{config.cold_start.batch_size} samples cannot be shared by {ranks} learner ranks",
        )


def _lengths(config: RunConfig) -> Iterator[Problem]:
    if config.learner.micro_batch_tokens < config.max_model_tokens:
        yield Problem(
            ("learner.micro_batch_tokens", "rollout.max_prompt_tokens", "rollout.max_response_tokens"),
            f"a prompt with its response may have {config.max_model_tokens} tokens; raise it or lower them",
        )
    video = most_video_tokens(config)
    if video + TEXT_TOKENS > config.rollout.max_prompt_tokens:
        yield Problem(
            ("rollout.max_prompt_tokens", "video.max_frames", "video.max_pixels", "video.total_pixels"),
            f"a clip may take up to {video} tokens, and its text about {TEXT_TOKENS}; "
            f"allow at least {video + TEXT_TOKENS} or let the clip have fewer",
        )


def _video(config: RunConfig) -> Iterator[Problem]:
    video = config.video
    if video.min_frames > video.max_frames:
        yield Problem(("video.min_frames", "video.max_frames"), "the fewest frames are more than the most")
    if video.min_pixels > video.max_pixels:
        yield Problem(
            ("video.min_pixels", "video.max_pixels"), "the smallest frame is larger than the largest"
        )


def _clip_bounds(config: RunConfig) -> Iterator[Problem]:
    recipe = config.recipe
    # CISPO bounds a weight, not a ratio that may fall and rise.
    if recipe.surrogate != "weighted" and recipe.clip_low > recipe.clip_high:
        yield Problem(
            ("grpo.clip_low", "grpo.clip_high"),
            "the ratio may fall further than it may rise; clip_high >= clip_low",
        )


def _feature_cache(config: RunConfig) -> Iterator[Problem]:
    if config.learner.feature_cache_gib and not config.tower_is_frozen:
        yield Problem(
            ("learner.feature_cache_gib", "learner.freeze_vision"),
            "features of a vision tower that trains go stale at the next step; set freeze_vision or lora_rank",
        )


def _betas(config: RunConfig) -> Iterator[Problem]:
    if not all(0 <= beta < 1 for beta in config.learner.adam_betas):
        yield Problem(("learner.adam_betas",), "each must be at least 0 and below 1")


def _rollout_gpus(config: RunConfig) -> Iterator[Problem]:
    gpus, parallel = config.rollout.gpus_per_worker, config.rollout.tensor_parallel_size
    if gpus not in (0, parallel) and not (parallel == 1 and gpus < 1):
        yield Problem(
            ("rollout.gpus_per_worker", "rollout.tensor_parallel_size"),
            f"an engine takes {parallel} GPU(s): gpus_per_worker must be {parallel}, "
            + ("a part of 1, or 0 for the CPU" if parallel == 1 else "or 0 for the CPU"),
        )


def _shared_gpus(config: RunConfig) -> Iterator[Problem]:
    rollout, learner = config.rollout, config.learner
    if 0 < rollout.gpus_per_worker < min(1, rollout.gpu_memory_utilization):
        yield Problem(
            ("rollout.gpu_memory_utilization", "rollout.gpus_per_worker"),
            "an engine that shares a GPU must not take more of its memory than it reserves of the GPU",
        )
    if 0 < learner.gpus_per_worker < 1 < learner.num_workers:
        yield Problem(
            ("learner.gpus_per_worker", "learner.num_workers"),
            "learner ranks average gradients by NCCL, which refuses two on one GPU; reserve 1 for each",
        )


def _gradients(config: RunConfig) -> Iterator[Problem]:
    if config.model.dtype == "bfloat16" and config.learner.zero_stage == 0:
        yield Problem(
            ("learner.zero_stage", "model.dtype"),
            "without ZeRO DeepSpeed adds gradients of bfloat16 weights up in bfloat16; set 1 or more, on one rank too",
        )


def _learner_memory(config: RunConfig) -> Iterator[Problem]:
    learner = config.learner
    if learner.offload_optimizer and learner.zero_stage == 0:
        yield Problem(
            ("learner.offload_optimizer", "learner.zero_stage"), "DeepSpeed offloads it from ZeRO stage 1 on"
        )
    if learner.offload_optimizer and learner.gpus_per_worker == 0:
        yield Problem(
            ("learner.offload_optimizer", "learner.gpus_per_worker"),
            "a learner on the CPU has nothing to offload",
        )


def _sync(config: RunConfig) -> Iterator[Problem]:
    if config.sync.backend != "nccl":
        return
    for key, gpus in (
        ("learner.gpus_per_worker", config.learner.gpus_per_worker),
        ("rollout.gpus_per_worker", config.rollout.gpus_per_worker),
    ):
        if gpus == 0:
            yield Problem(
                ("sync.backend", key), "nccl moves weights between GPUs; use gloo or auto on the CPU"
            )
        elif gpus < 1:
            yield Problem(("sync.backend", key), "nccl refuses two processes on one GPU; use gloo or auto")


def _reward(config: RunConfig) -> Iterator[Problem]:
    reward = config.reward
    for task in dict.fromkeys((*reward.options, *reward.weights)):
        try:
            Scorer(
                task, reward.mode, config.data.template, reward.options.get(task), reward.weights.get(task)
            )
        except ValueError as error:
            yield Problem(("reward.options", "reward.weights", "reward.mode"), str(error))


def _cold_start(config: RunConfig) -> Iterator[Problem]:
    if not config.has_cold_start:
        return
    is_direct, thinks = config.data.template == "direct", bool(config.cold_start.think_steps)
    if config.trains_on_synthetic and config.data.template != "thinking":
        yield Problem(
            ("data.template", "model.path", "run.algorithm"),
            "demonstrations on synthetic clips have a think part first; use thinking, or a trained model.path",
        )
    if not config.trains_on_synthetic and (thinks or not is_direct):
        wanted = {"`data: {template: direct}`": not is_direct, "`cold_start: {think_steps: 0}`": thinks}
        written = " and ".join(text for text, is_missing in wanted.items() if is_missing)
        yield Problem(
            ("data.template", "cold_start.think_steps", "model.path", "run.algorithm"),
            f"annotations hold answers and no think part; write {written}, or for GRPO a trained model.path",
        )
    if config.cold_start.max_steps <= config.cold_start.think_steps:
        yield Problem(
            ("cold_start.max_steps", "cold_start.think_steps"),
            "every step is on think parts and no answer to where and when is ever shown; max_steps > think_steps",
        )


def _ray(config: RunConfig) -> Iterator[Problem]:
    if config.ray.address is not None and config.ray.num_cpus is not None:
        yield Problem(
            ("ray.num_cpus", "ray.address"),
            "the CPUs of a cluster that is joined are its own; leave one of them out",
        )


_CHECKS: tuple[Callable[[RunConfig], Iterator[Problem]], ...] = (
    _group,
    _batch,
    _lengths,
    _video,
    _clip_bounds,
    _feature_cache,
    _betas,
    _rollout_gpus,
    _shared_gpus,
    _gradients,
    _learner_memory,
    _sync,
    *DATA_CHECKS,
    _reward,
    _cold_start,
    _ray,
    reward_contradictions,
)
