"""The learning side: the supervised stage, the learner ranks, GRPO, and checkpoints."""

from __future__ import annotations

from typing import Literal

from cluster.config.base import Section, described


class ColdStartSection(Section):
    """Supervised: before GRPO when the policy is `tiny`, the whole run when `run.algorithm` is `sft`.

    Synthetic clips have worked responses, those of datasets and annotation files their annotated answers alone.
    """

    max_steps: int = described(1000, "Longest this stage may last, optimizer steps.", ge=1)
    think_steps: int = described(
        0,
        "Steps at the start on think parts, before any answer to where and when is shown, optimizer steps.",
        ge=0,
    )
    batch_size: int = described(32, "Demonstrations per optimizer step, samples.", ge=1)
    learning_rate: float = described(1e-3, "Peak learning rate of this stage, per step.", gt=0)
    check_every: int = described(
        50,
        "Steps between two looks at the share of answers that parse, `think_steps` not counted, optimizer steps.",
        ge=1,
    )
    parse_target: float | None = described(
        0.95, "Stop once this share of sampled answers parses, 0-1; null goes on to `max_steps`.", gt=0, le=1
    )
    probe_prompts: int = described(64, "Training prompts sampled for that look, prompts.", ge=1)


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
        1,
        "ZeRO stage: what is sharded over ranks, 0 nothing (float32 only) to 3 everything.",
        ge=0,
        le=3,
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
    feature_cache_gib: float = described(
        0.0,
        "Bound of the features that a frozen vision tower leaves in `<run.output_dir>/features`, for all epochs and "
        "the rollout workers, GiB; 0 keeps none.",
        ge=0,
    )
    lora_rank: int = described(
        0,
        "Train LoRA adapters of this width in the language model, and nothing else; 0 trains the weights.",
        ge=0,
    )
    lora_alpha: int = described(32, "LoRA adapters are scaled by this over `lora_rank`. No unit.", gt=0)
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
    objective: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo", "reinforce_pp_baseline"] = (
        described(
            "grpo",
            "What is optimized; gives the next six their defaults (`learner/recipes.py` cites the papers). The whole "
            "of DAPO also takes `dynamic_sampling` and `overlong_buffer`, which are 0 unless set; `rloo` clips and "
            "has its KL penalty in the loss, as the paper does not.",
        )
    )
    advantages: Literal["group_normalised", "group_centred", "leave_one_out", "batch_normalised"] | None = (
        described(None, "What rewards are compared with and divided by; null takes the objective's.")
    )
    surrogate: Literal["token", "sequence_mean", "sequence_sum", "weighted"] | None = described(
        None, "Which importance ratio is clipped, and how; null takes the objective's."
    )
    loss_aggregation: Literal["token", "sequence", "constant"] | None = described(
        None,
        "Mean over all tokens; over each response, then responses; or sum over tokens by responses times "
        "`rollout.max_response_tokens`; null takes the objective's.",
    )
    clip_low: float | None = described(
        None,
        "The importance ratio is clipped below 1 minus this; null takes the objective's. No unit.",
        gt=0,
        le=1,
    )
    clip_high: float | None = described(
        None, "The importance ratio is clipped above 1 plus this; null takes the objective's. No unit.", gt=0
    )
    kl_estimator: Literal["k1", "k2", "k3"] | None = described(
        None, "Estimator of the KL penalty; null takes the objective's."
    )
    importance_correction: Literal["none", "truncate", "mask"] = described(
        "truncate",
        "What is done where rollout and learner differ by more than `importance_cap`: bound the gradient's weight "
        "(not with the surrogate `weighted`, whose `clip_high` bounds it), leave the token out, or nothing.",
    )
    importance_cap: float = described(
        2.0, "Cap of the learner-to-rollout importance weight of a token. No unit.", ge=1
    )
    updates_per_step: int = described(
        1, "Optimizer steps per batch of groups, each on its share of them, steps.", ge=1
    )
    dynamic_sampling: int = described(
        0,
        "Rounds in which groups without a spread of rewards are replaced by those of further prompts, with a KL "
        "penalty too, rounds.",
        ge=0,
    )
    overlong_buffer: int = described(
        0,
        "Tokens before `rollout.max_response_tokens` over which the reward falls by 1, tokens; 0 lets it be.",
        ge=0,
    )
    max_staleness: int = described(
        0, "Most weight versions a group may lag the learner, versions; 0 is on-policy.", ge=0
    )
    mismatch_bound: float = described(
        1.05,
        "The run stops when mean exp|logp_rollout - logp_learner| at the first update of a step exceeds this; in "
        "bfloat16 the first 3 steps warn instead. No unit.",
        gt=1,
    )


class CurriculumSection(Section):
    """Which prompts are sampled, and which of their groups are learned from."""

    sampler: Literal["in_order", "difficulty"] = described(
        "in_order",
        "`in_order`: every prompt as its turn comes; `difficulty`: hard prompts that can be solved more often, by a "
        "running difficulty that starts from `data.grades` where they are given.",
    )
    target: float = described(
        0.5, "Difficulty preferred most, 0-1: 1 minus the mean of the main reward component.", ge=0, le=1
    )
    width: float = described(
        0.2, "Standard deviation of the Gaussian preference around `target`, in difficulty. No unit.", gt=0
    )
    floor: float = described(
        0.1, "Chance that a prompt of any difficulty is taken when its turn comes, 0-1.", ge=0.01, le=1
    )
    min_spread: float | None = described(
        None,
        "Groups are left out unless the standard deviation of their rewards is above this; null leaves out those "
        "without any, and with a `grpo.kl_coef` but no `grpo.dynamic_sampling` none. No unit.",
        ge=0,
    )


class CheckpointSection(Section):
    """What a run can be resumed from."""

    every_steps: int = described(
        50, "Steps between two checkpoints, of the supervised stage too, optimizer steps.", ge=1
    )
    keep: int = described(2, "Newest checkpoints kept, checkpoints.", ge=1)
