"""What one YAML file says about a run: a section per part of the system, every field with its unit.

Sections are one level deep (`section.field`), frozen, and refuse unknown keys. Mistakes between fields are
found in `cluster.config_checks`; reading files and overrides is `cluster.config_loading`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from data.schema import Task

TINY = "tiny"
SYNTHETIC = "synthetic"


def described(default: Any, description: str, **limits: Any) -> Any:
    """A field with its description; limits are pydantic's (`ge`, `gt`, `min_length`, ...)."""
    return Field(default, description=description, **limits)


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values never change, text is never a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RunSection(Section):
    """The run as a whole."""

    name: str = described(
        "run", "Name of the run and of its folder.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    output_dir: str = described(
        "runs", "Folder that run folders are made in, relative to the working folder.", min_length=1
    )
    seed: int = described(
        0, "Seed of everything random: synthetic clips, weights, shuffle and sampling.", ge=0, lt=2**31
    )
    algorithm: Literal["grpo", "sft"] = described(
        "grpo",
        "`grpo`: reinforcement learning; `sft`: only the supervised stage that `cold_start` describes.",
    )


class ModelSection(Section):
    """The policy to train."""

    path: str = described(
        TINY,
        "`tiny` (built on the spot, cold-started), a Hub id `owner/name`, or a local Hugging Face folder.",
        min_length=1,
    )
    dtype: Literal["float32", "bfloat16"] = described(
        "float32", "Type of the weights in rollout workers and learner."
    )


class VideoSection(Section):
    """The sampling contract: which frames of a clip the policy sees, and how large."""

    fps: float = described(2.0, "Frames sampled per second of video, frames/s.", gt=0)
    min_frames: int = described(4, "Fewest frames of a clip, frames (even).", ge=2, multiple_of=2)
    max_frames: int = described(64, "Most frames of a clip, frames (even).", ge=2, multiple_of=2)
    min_pixels: int = described(16 * 28 * 28, "Smallest frame after resizing, pixels.", ge=28 * 28)
    max_pixels: int = described(256 * 28 * 28, "Largest frame after resizing, pixels.", ge=28 * 28)
    total_pixels: int = described(
        2048 * 28 * 28,
        "Budget of a clip after resizing, pixels per pair of frames summed over the pairs.",
        ge=28 * 28,
    )


class DataSection(Section):
    """Prompts and the loaders of their clips."""

    source: str = described(
        SYNTHETIC, "Training prompts: `synthetic`, or an annotation file (JSONL).", min_length=1
    )
    eval_source: str = described(
        SYNTHETIC, "Held-out prompts: `synthetic`, or another annotation file.", min_length=1
    )
    num_prompts: int | None = described(
        2000,
        "Training prompts to render, or to take from the file; null takes the whole file. Prompts.",
        ge=1,
    )
    eval_prompts_per_task: int = described(200, "Held-out prompts of each task, prompts.", ge=1)
    tasks: dict[Task, float] = described(
        dict.fromkeys(Task, 1.0),
        "Share of each task among the training prompts, relative weights; 0 leaves it out.",
    )
    thinking: bool = described(True, "Ask for a think part before the answer, and reward it in the format.")
    num_loaders: int = described(1, "Video loaders, actors.", ge=1)
    cpus_per_loader: float = described(0.1, "CPUs reserved for a loader, cores.", ge=0)
    decode_timeout_s: float = described(
        20.0, "Longest a clip may take to decode before it is tried again, seconds.", gt=0
    )
    cache_gib: float = described(
        0.5, "Most memory that decoded clips may take in the object store, GiB.", gt=0
    )
    prefetch: int = described(2, "Optimizer steps whose clips are decoded ahead, steps.", ge=0)


class ColdStartSection(Section):
    """Supervised: before GRPO when the policy is `tiny`, the whole run when `run.algorithm` is `sft`."""

    max_steps: int = described(1000, "Longest this stage may last, optimizer steps.", ge=1)
    batch_size: int = described(32, "Demonstrations per optimizer step, samples.", ge=1)
    learning_rate: float = described(1e-3, "Peak learning rate of this stage, per step.", gt=0)
    check_every: int = described(
        50, "Steps between two looks at the share of answers that parse, optimizer steps.", ge=1
    )
    parse_target: float | None = described(
        0.95, "Stop once this share of sampled answers parses, 0-1; null goes on to `max_steps`.", gt=0, le=1
    )
    probe_prompts: int = described(64, "Training prompts sampled for that look, prompts.", ge=1)


class RolloutSection(Section):
    """Rollout workers: one vLLM engine each."""

    num_workers: int = described(1, "Rollout workers, engines.", ge=1)
    tensor_parallel_size: int = described(
        1, "Processes that share one engine's weights, each with a GPU of its own, processes.", ge=1
    )
    gpus_per_worker: float = described(
        0.0, "GPUs reserved for a worker, GPUs; below 1 shares one, 0 serves on the CPU.", ge=0
    )
    cpus_per_worker: float = described(1.0, "CPUs reserved for a worker, cores.", ge=0)
    threads_per_worker: int | None = described(
        None, "OpenMP threads of a worker, threads; null takes `cpus_per_worker` rounded up.", ge=1
    )
    group_size: int = described(8, "G, responses sampled per prompt, responses.", ge=1)
    temperature: float = described(
        1.0, "Sampling temperature while training; evaluation is greedy. No unit.", gt=0
    )
    max_prompt_tokens: int = described(
        3072, "Longest prompt, video included, tokens; a longer one is skipped.", ge=1
    )
    max_response_tokens: int = described(512, "Longest response, tokens.", ge=1)
    max_concurrent: int = described(64, "Most responses that one engine samples at a time, sequences.", ge=1)
    gpu_memory_utilization: float = described(
        0.85, "Share of a GPU's memory that an engine takes for weights and KV cache, 0-1.", gt=0, le=1
    )
    kv_cache_gib: int = described(1, "KV cache of an engine on the CPU, GiB.", ge=1)
    start_timeout_s: float = described(600.0, "Longest an engine may take to start, seconds.", gt=0)
    request_timeout_s: float = described(600.0, "Longest a group may take to be sampled, seconds.", gt=0)


class RewardSection(Section):
    """Reward workers: they score responses by rule."""

    num_workers: int = described(1, "Reward workers, actors.", ge=1)
    cpus_per_worker: float = described(0.1, "CPUs reserved for a worker, cores.", ge=0)
    mode: Literal["strict", "paper"] = described(
        "strict", "`strict` parsing, or `paper`: as the paper's released functions."
    )
    custom: dict[Task, str] = described(
        {}, "Reward functions of your own by task, dotted paths `package.module.function`."
    )
    timeout_s: float = described(60.0, "Longest the scoring of one step may take, seconds.", gt=0)


class LearnerSection(Section):
    """Learner ranks: one DeepSpeed process each."""

    num_workers: int = described(1, "Learner ranks, processes.", ge=1)
    gpus_per_worker: float = described(
        0.0, "GPUs reserved for a rank, GPUs; below 1 shares one, 0 learns on the CPU.", ge=0, le=1
    )
    cpus_per_worker: float = described(1.0, "CPUs reserved for a rank, cores.", ge=0)
    threads_per_worker: int | None = described(
        None, "OpenMP threads of a rank, threads; null takes `cpus_per_worker` rounded up.", ge=1
    )
    zero_stage: int = described(
        1, "ZeRO stage: what is sharded over ranks, 0 nothing to 3 everything.", ge=0, le=3
    )
    offload_optimizer: bool = described(
        False, "Keep the optimizer's state in host memory (GPU learners, ZeRO 1-3)."
    )
    gradient_checkpointing: bool = described(
        False, "Recompute activations in the backward pass to save memory."
    )
    micro_batch_tokens: int = described(
        16384, "Most tokens of a micro-batch on one rank, prompts included, tokens.", ge=1
    )
    freeze_vision: bool = described(
        False, "Leave the vision tower as it is and train the language model only."
    )
    learning_rate: float = described(1e-6, "Peak learning rate of GRPO, per step.", gt=0)
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = described(
        "constant", "After the warm-up: `constant`, or decay to 0 at the last step, `linear` or `cosine`."
    )
    warmup_steps: int = described(0, "Linear warm-up of the learning rate, optimizer steps.", ge=0)
    weight_decay: float = described(0.0, "AdamW weight decay, per step and unit of learning rate.", ge=0)
    adam_betas: tuple[float, float] = described(
        (0.9, 0.999), "AdamW decay rates of both moments, two numbers in 0-1."
    )
    max_grad_norm: float = described(
        1.0, "Gradients are scaled down to this global norm; 0 leaves them. No unit.", ge=0
    )
    start_timeout_s: float = described(
        600.0, "Longest the ranks may take to start and load the policy, seconds.", gt=0
    )
    step_timeout_s: float = described(
        1800.0, "Longest an optimizer step or a checkpoint may take, seconds.", gt=0
    )


class GrpoSection(Section):
    """Group relative policy optimisation."""

    steps: int = described(500, "Length of the run, optimizer steps.", ge=1)
    prompts_per_step: int = described(
        16, "Prompts per optimizer step, prompts; each gives `rollout.group_size` responses.", ge=1
    )
    kl_coef: float = described(
        0.0, "Beta, weight of the KL to the reference policy; 0 loads no reference. No unit.", ge=0
    )
    clip_low: float = described(
        0.2, "The importance ratio is clipped below 1 minus this. No unit.", gt=0, lt=1
    )
    clip_high: float = described(0.2, "The importance ratio is clipped above 1 plus this. No unit.", gt=0)
    normalise_std: bool = described(
        True, "Divide a group's advantages by the standard deviation of its rewards."
    )
    loss_aggregation: Literal["token", "sequence"] = described(
        "token",
        "Mean over all response tokens of the step, or over each response first, then over responses.",
    )
    max_staleness: int = described(
        0, "Most weight versions a group may lag the learner, versions; 0 is on-policy.", ge=0
    )
    mismatch_bound: float = described(
        1.05, "The run stops when mean exp|logp_rollout - logp_learner| exceeds this. No unit.", gt=1
    )
    importance_cap: float = described(
        2.0, "Cap of the learner-to-rollout importance weight of a token. No unit.", ge=1
    )


class SyncSection(Section):
    """Weights on their way from the learner to the rollout workers."""

    backend: Literal["auto", "gloo", "nccl"] = described(
        "auto", "`nccl` between GPUs of their own, `gloo` elsewhere; `auto` chooses by the placement."
    )
    bucket_mib: int = described(256, "Size of the buckets that weights are packed into, MiB.", ge=1)
    timeout_s: float = described(120.0, "Longest one sync may take, seconds.", gt=0)


class EvaluationSection(Section):
    """Greedy answers on held-out clips, before and after training."""

    every_steps: int = described(
        0, "Evaluate while training too, every so many optimizer steps; 0 never.", ge=0
    )
    max_response_tokens: int | None = described(
        None, "Longest greedy response, tokens; null takes `rollout.max_response_tokens`.", ge=1
    )


class CheckpointSection(Section):
    """What a run can be resumed from."""

    every_steps: int = described(50, "Steps between two checkpoints, optimizer steps.", ge=1)
    keep: int = described(2, "Newest checkpoints kept, checkpoints.", ge=1)


class LoggingSection(Section):
    """Where the scalars of `metrics.jsonl` go besides."""

    wandb_mode: Literal["offline", "online", "disabled"] = described("offline", "How wandb records the run.")
    wandb_project: str = described("zoetrope", "wandb project.", min_length=1)
    ray_metrics: bool = described(True, "Publish the scalars on Ray's metrics endpoint.")


class RaySection(Section):
    """The Ray cluster."""

    address: str | None = described(
        None, "Cluster to join, `host:port` or `auto`; null takes RAY_ADDRESS, or starts Ray on this machine."
    )
    num_cpus: int | None = described(
        None,
        "CPUs that Ray may hand out on this machine, cores; null counts them. Only if Ray is started here.",
        ge=1,
    )


class RunConfig(Section):
    """A run, completely."""

    run: RunSection = described(RunSection(), "The run as a whole.")
    model: ModelSection = described(ModelSection(), "The policy to train.")
    video: VideoSection = described(VideoSection(), "The sampling contract.")
    data: DataSection = described(DataSection(), "Prompts and clips.")
    cold_start: ColdStartSection = described(ColdStartSection(), "The supervised stage.")
    rollout: RolloutSection = described(RolloutSection(), "Rollout workers.")
    reward: RewardSection = described(RewardSection(), "Reward workers.")
    learner: LearnerSection = described(LearnerSection(), "Learner ranks.")
    grpo: GrpoSection = described(GrpoSection(), "Group relative policy optimisation.")
    sync: SyncSection = described(SyncSection(), "Weight sync.")
    evaluation: EvaluationSection = described(EvaluationSection(), "Evaluation on held-out clips.")
    checkpoint: CheckpointSection = described(CheckpointSection(), "Checkpoints.")
    logging: LoggingSection = described(LoggingSection(), "Live metrics.")
    ray: RaySection = described(RaySection(), "The Ray cluster.")

    @property
    def run_dir(self) -> Path:
        """Folder of everything the run leaves."""
        return Path(self.run.output_dir) / self.run.name

    @property
    def has_cold_start(self) -> bool:
        """Whether the supervised stage takes place."""
        return self.model.path == TINY or self.run.algorithm == "sft"

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy is loaded."""
        return self.run.algorithm == "grpo" and self.grpo.kl_coef > 0

    @property
    def evaluation_tokens(self) -> int:
        """Longest response of an evaluation, tokens."""
        return self.evaluation.max_response_tokens or self.rollout.max_response_tokens

    @property
    def max_model_tokens(self) -> int:
        """Longest prompt and response together that an engine must hold, tokens."""
        return self.rollout.max_prompt_tokens + max(self.rollout.max_response_tokens, self.evaluation_tokens)

    @property
    def sync_backend(self) -> Literal["gloo", "nccl"]:
        """The weight transport that `sync.backend` comes down to.

        NCCL refuses two ranks on one GPU, so workers that share a GPU use gloo.
        """
        if self.sync.backend != "auto":
            return self.sync.backend
        own_gpus = self.rollout.gpus_per_worker >= 1 and self.learner.gpus_per_worker >= 1
        return "nccl" if own_gpus else "gloo"
