"""The stages of a run, one after another: cold start, evaluation, GRPO, evaluation.

Importing this takes as long as importing torch and transformers does; `cluster.training.run` does so while Ray starts.
"""

from __future__ import annotations

from contextlib import ExitStack

from cluster.config import RunConfig
from cluster.evaluation.greedy import evaluate
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.prompts import PromptSet
from cluster.progress.display import Progress
from cluster.records.eval_records import eval_path, read_eval_samples
from cluster.records.results import compute_results, write_results
from cluster.records.run_log import RunLog
from cluster.runtime.actor_watch import ActorWatch, as_failure
from cluster.runtime.initial_policy import initial_policy
from cluster.runtime.system import System, learner_settings
from cluster.training import training_loop
from cluster.training.cold_start import cold_start
from cluster.training.frontier import COLD_START_POLICY, POLICY, Frontier


def carry_out(
    config: RunConfig,
    stack: ExitStack,
    files: ClipFiles,
    prompts: PromptSet,
    log: RunLog,
    progress: Progress,
    frontier: Frontier | None,
) -> None:
    """Cold start, evaluation, GRPO, evaluation; what a resumed run has behind it is not done again."""
    # Absolute, like every path that actors are given: their working folder may be another one.
    warm_policy = (config.run_dir / COLD_START_POLICY).absolute()
    model_path = warm_policy if frontier and warm_policy.is_dir() else initial_policy(config)
    system = System(config, progress, files, model_path)
    stack.callback(system.shutdown)
    watch = stack.enter_context(ActorWatch(system.actors))
    stack.enter_context(as_failure(watch))
    if config.has_cold_start and model_path != warm_policy:
        model_path = cold_start(config, system, prompts, log, progress, model_path)
    if config.run.algorithm == "sft":
        evaluate(config, system, prompts.held_out, "cold_start", progress)
        _leave_cold_start_policy(config)
        return
    updates = config.grpo.steps * config.grpo.updates_per_step
    settings = learner_settings(config, updates, config.learner.learning_rate, config.grpo.kl_coef)
    system.begin_learner(model_path, settings)
    if not eval_path(config.run_dir, "cold_start").exists():
        # By the rollout workers alone, which serve the policy that the learner is still starting from.
        evaluate(config, system, prompts.held_out, "cold_start", progress)
    frontier = training_loop.load(config, system, progress) if frontier else Frontier(version=system.version)
    system.version = frontier.version
    system.connect()
    training_loop.train(config, system, prompts, log, progress, frontier)
    evaluate(config, system, prompts.held_out, "grpo", progress)
    _write_results(config)


def _leave_cold_start_policy(config: RunConfig) -> None:
    """A supervised run's policy lies where that of any run does."""
    policy = config.run_dir / POLICY
    if not policy.is_symlink():
        policy.symlink_to(COLD_START_POLICY)


def _write_results(config: RunConfig) -> None:
    before, after = (read_eval_samples(config.run_dir, stage) for stage in ("cold_start", "grpo"))
    write_results(config.run_dir, compute_results(before, after, config.reward.mode))
