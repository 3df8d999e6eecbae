"""The GRPO loop. It reads like the way of a prompt: fill, take, admit, learn, sync, record."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from cluster.config import RunConfig
from cluster.errors import RunFailure
from cluster.evaluation.greedy import evaluate
from cluster.inputs.prompt_mix import PromptMix
from cluster.inputs.prompts import PromptSet
from cluster.progress.display import Progress
from cluster.records.run_log import RunLog
from cluster.runtime.system import System
from cluster.training.curriculum import Curriculum, make_curriculum
from cluster.training.experience import GroupProducer, Taken
from cluster.training.frontier import CHECKPOINTS, POLICY, Frontier, frontier_of
from cluster.training.groups import Group, set_advantages
from cluster.training.step_records import sample_records, step_record
from learner.report import StepReport, follow
from learner.settings import BatchSize

# A bound says little before it has met the kernels of a machine: by these steps their figure is known.
STEPS_WARNED = 3


def train(
    config: RunConfig, system: System, prompts: PromptSet, log: RunLog, progress: Progress, start: Frontier
) -> None:
    """Run GRPO from `start` to the configured number of steps.

    Raises:
        RunFailure: rollout and learner disagree on log-probabilities.
        ActorFailure: an actor died or did not answer.
    """
    progress.stage("GRPO", total=config.grpo.steps, done=start.step)
    mix = PromptMix(prompts.mix, config.run.seed, config.data.batches == "by_task")
    curriculum = make_curriculum(config, mix)
    if start.curriculum:
        curriculum.load_state_dict(start.curriculum)
    producer = GroupProducer(config, system, mix, curriculum, start.drawn)
    for step in range(start.step + 1, config.grpo.steps + 1):
        began = time.monotonic()
        producer.fill(steps_trained=step - 1)
        taken, admitted = collect_groups(producer, curriculum, config, step)
        report = learn(system, set_batch(taken, admitted, config), admitted, config)
        # With groups of later steps under way the next ones are submitted before this sync pauses sampling.
        sync_seconds = system.sync(system.version + 1)
        seconds = time.monotonic() - began
        record = step_record(
            step, system, taken, admitted, report, sync_seconds, seconds, curriculum.metrics()
        )
        log.step(record)
        log.samples(sample_records(step, taken.groups))
        progress.step(record)
        check_mismatch(step, report, config, progress.warn)
        if step % config.checkpoint.every_steps == 0 or step == config.grpo.steps:
            frontier = Frontier(step, system.version, curriculum.state_dict(), producer.waiting)
            save(config, system, frontier)
        if config.evaluation.every_steps and step % config.evaluation.every_steps == 0:
            evaluate(config, system, prompts.held_out, f"step_{step}", progress)
            progress.stage("GRPO", total=config.grpo.steps, done=step)


def collect_groups(
    producer: GroupProducer, curriculum: Curriculum, config: RunConfig, step: int
) -> tuple[Taken, list[Group]]:
    """The groups of a step, and those of them worth an update.

    With dynamic sampling (DAPO, arXiv 2503.14476, section 3.2) further prompts take the place of groups that are not
    admitted, for a bounded number of rounds.
    """
    wanted = config.grpo.prompts_per_step
    taken = producer.take(step, wanted)
    admitted = curriculum.admit(taken.groups)
    for _ in range(config.grpo.dynamic_sampling):
        if len(admitted) == wanted:
            break
        more = producer.take(step, wanted - len(admitted))
        taken = taken.plus(more)
        admitted += curriculum.admit(more.groups)
    return taken, admitted


def set_batch(taken: Taken, admitted: Sequence[Group], config: RunConfig) -> Sequence[Group]:
    """The groups that the objective's means are over, with their advantages.

    A group without a spread needs no pass where nothing but its reward could move it; it is of the batch all the same,
    or rewards would move what the loss is divided by. It is not where others took its place, or were meant to.
    """
    grpo = config.grpo
    batch = admitted
    if not grpo.dynamic_sampling and config.curriculum.min_spread is None:
        batch = [group for group in taken.groups if group.staleness <= grpo.max_staleness]
    if batch:
        # Not before the last of them is there: some objectives divide by the standard deviation of the whole batch.
        set_advantages(batch, config)
    return batch


def learn(
    system: System, batch: Sequence[Group], admitted: Sequence[Group], config: RunConfig
) -> StepReport | None:
    """The optimizer steps on a batch; None when too little of it is admitted to be shared among the ranks.

    Several updates each take their share of the batch, in order; the later ones are off-policy by so many steps,
    which the importance ratio sees.
    """
    # Not by prompt: a small dataset may give the same one twice.
    updates, learned = config.grpo.updates_per_step, set(map(id, admitted))
    reports = []
    for number in range(updates):
        share = batch[number * len(batch) // updates : (number + 1) * len(batch) // updates]
        samples = [sample for group in share if id(group) in learned for sample in group.samples()]
        if len(samples) >= config.learner.num_workers:
            reports.append(system.learner.step(samples, "grpo", size_of(share)))
    return follow(reports) if reports else None


def size_of(groups: Sequence[Group]) -> BatchSize:
    """What a mean over all of the groups' responses divides by."""
    lengths = [len(response.token_ids) for group in groups for response in group.rollout.responses]
    return BatchSize(sum(lengths), len(lengths))


def check_mismatch(
    step: int, report: StepReport | None, config: RunConfig, warn: Callable[[str], None]
) -> None:
    """Stop a run whose two engines do not compute the same policy.

    In bfloat16 how far two kernels' rounding takes them apart depends on the machine: the first steps of a run only
    warn, with the figure. In float32 it is nowhere near the bound.

    Raises:
        RunFailure: the mean of exp|logp_rollout - logp_learner| is beyond the bound, or no number.
    """
    # Not `>`: a mismatch that is not a number is as bad.
    if report is None or report.mismatch <= config.grpo.mismatch_bound:
        return
    problem = (
        f"Step {step}: rollout and learner disagree: mean exp|logp_rollout - logp_learner| is "
        f"{report.mismatch:.4f}, the bound (grpo.mismatch_bound) is {config.grpo.mismatch_bound}."
    )
    if config.model.dtype == "bfloat16" and step <= STEPS_WARNED and math.isfinite(report.mismatch):
        warn(f"{problem} From step {STEPS_WARNED + 1} on this ends the run.")
        return
    raise RunFailure(
        f"{problem} They see different prompts, positions or weights; what the reward curve shows since is not to be "
        "trusted."
    )


def save(config: RunConfig, system: System, frontier: Frontier) -> None:
    """Write the policy, in place of the one before, and a checkpoint to resume from.

    The policy comes first: a run that was killed in between and resumed behind its last step would not write it again.
    """
    system.learner.export_hf(str((config.run_dir / POLICY).absolute()))
    folder = str((config.run_dir / CHECKPOINTS).absolute())
    system.learner.save_checkpoint(folder, vars(frontier), config.checkpoint.keep)


def load(config: RunConfig, system: System, progress: Progress) -> Frontier:
    """Bring the learner to the newest complete checkpoint; the beginning where there is none."""
    folder = (config.run_dir / CHECKPOINTS).absolute()
    state, problems = system.learner.load_checkpoint(str(folder))
    for problem in problems:
        progress.warn(problem)
    return frontier_of(state, folder) if state else Frontier(version=system.version)
