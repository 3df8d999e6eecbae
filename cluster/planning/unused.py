"""Which keys of a configuration a run or an evaluation has no use for."""

from __future__ import annotations

from cluster.config import RunConfig

# Sections, and fields of others.
_OF_GRPO = (
    "grpo",
    "curriculum",
    "rollout.group_size",
    "reward.shuffle_bonus",
    "reward.shuffle_form",
    "learner.learning_rate",
    "evaluation.every_steps",
)
OF_TRAINING = (
    "cold_start",
    "learner",
    "grpo",
    "curriculum",
    "sync",
    "checkpoint",
    "run.algorithm",
    "data.source",
    "data.datasets",
    "data.batches",
    "data.grades",
    "data.difficulty",
    "data.num_prompts",
    "data.prefetch",
    "rollout.group_size",
    "rollout.temperature",
    "reward.weights",
    "reward.custom",
    "reward.shuffle_bonus",
    "reward.shuffle_form",
    "evaluation.every_steps",
    "logging.wandb_mode",
    "logging.wandb_project",
)


def unused(config: RunConfig, evaluates: bool) -> tuple[str, ...]:
    """Sections and keys that nothing reads, or nothing that comes of them is used.

    Args:
        evaluates: Of an evaluation, not of a run.
    """
    if evaluates:
        # Shares and numbers of what is trained on; synthetic held-out clips alone go by them too.
        counts = ("data.tasks", "data.eval_prompts_per_task") if config.data.eval_datasets else ()
        return OF_TRAINING + counts
    cold_start = () if config.has_cold_start else ("cold_start",)
    return cold_start + (_OF_GRPO if config.run.algorithm == "sft" else ())
