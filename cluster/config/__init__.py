"""What one YAML file says about a run: a section per part of the system, every field with its unit.

Sections are one level deep (`section.field`), but for lists of entries (`data.datasets[0].weight`); they are frozen
and refuse unknown keys. Mistakes between fields are
found in `cluster.config.checks`; reading files and overrides is `cluster.config.loading`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cluster.config.acting import EvaluationSection, JudgeSection, RewardSection, RolloutSection
from cluster.config.base import Section, described
from cluster.config.inputs import (
    SYNTHETIC,
    TINY,
    DataSection,
    Dataset,
    ModelSection,
    RunSection,
    TrainingDataset,
    VideoSection,
)
from cluster.config.learning import (
    CheckpointSection,
    ColdStartSection,
    CurriculumSection,
    GrpoSection,
    LearnerSection,
)
from cluster.config.system import LoggingSection, RaySection, SyncSection
from learner.recipes import RECIPES, Recipe

__all__ = [
    "SYNTHETIC",
    "TINY",
    "CheckpointSection",
    "ColdStartSection",
    "CurriculumSection",
    "DataSection",
    "Dataset",
    "EvaluationSection",
    "GrpoSection",
    "JudgeSection",
    "LearnerSection",
    "LoggingSection",
    "ModelSection",
    "RaySection",
    "RewardSection",
    "RolloutSection",
    "RunConfig",
    "RunSection",
    "Section",
    "SyncSection",
    "TrainingDataset",
    "VideoSection",
]


class RunConfig(Section):
    """A run, completely."""

    run: RunSection = described(RunSection(), "The run as a whole.")
    model: ModelSection = described(ModelSection(), "The policy to train.")
    video: VideoSection = described(VideoSection(), "The sampling contract.")
    data: DataSection = described(DataSection(), "Prompts and clips.")
    cold_start: ColdStartSection = described(ColdStartSection(), "The supervised stage.")
    rollout: RolloutSection = described(RolloutSection(), "Rollout workers.")
    reward: RewardSection = described(RewardSection(), "Reward workers.")
    judge: JudgeSection = described(JudgeSection(), "The judge of captions.")
    learner: LearnerSection = described(LearnerSection(), "Learner ranks.")
    grpo: GrpoSection = described(GrpoSection(), "Group relative policy optimisation.")
    curriculum: CurriculumSection = described(CurriculumSection(), "What is trained on.")
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
    def feature_cache(self) -> Path:
        """Folder of a frozen vision tower's features, shared by all runs beside this one."""
        return Path(self.run.output_dir).absolute() / "features"

    @property
    def judge_cache(self) -> Path:
        """File of what the judge of captions has answered."""
        return Path(self.judge.cache or self.run_dir / "judge.sqlite").absolute()

    @property
    def tower_is_frozen(self) -> bool:
        """Whether the vision tower stays as it is."""
        return self.learner.freeze_vision or self.learner.lora_rank > 0

    @property
    def trains_on_synthetic(self) -> bool:
        """Whether the training clips are rendered."""
        return self.data.source == SYNTHETIC and not self.data.datasets

    @property
    def evaluates_on_synthetic(self) -> bool:
        """Whether the held-out clips are rendered."""
        return self.data.eval_source == SYNTHETIC and not self.data.eval_datasets

    @property
    def has_cold_start(self) -> bool:
        """Whether the supervised stage takes place."""
        return self.model.path == TINY or self.run.algorithm == "sft"

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy is loaded; with LoRA it is the policy without its adapters."""
        return self.run.algorithm == "grpo" and self.grpo.kl_coef > 0 and not self.learner.lora_rank

    @property
    def recipe(self) -> Recipe:
        """The objective by name, with what the configuration sets otherwise."""
        grpo, named = self.grpo, RECIPES[self.grpo.objective]
        return Recipe(
            advantages=grpo.advantages or named.advantages,
            surrogate=grpo.surrogate or named.surrogate,
            aggregation=grpo.loss_aggregation or named.aggregation,
            clip_low=grpo.clip_low or named.clip_low,
            clip_high=grpo.clip_high or named.clip_high,
            kl=grpo.kl_estimator or named.kl,
        )

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
