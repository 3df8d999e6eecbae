"""Evaluation of a policy by the rollout workers. What is answered stays answered: a later call does the rest.

A prompt that could not be used is asked again by the next call: what kept its clip from being read may have passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cluster.config import RunConfig
from cluster.errors import ConfigError
from cluster.evaluation.greedy import answers
from cluster.evaluation.judging import judge_notes
from cluster.evaluation.outcome import publish
from cluster.evaluation.records import SAMPLES_FILE, append_samples, compact_samples, read_samples
from cluster.evaluation.settings import claim, settings_of_policy
from cluster.inputs.benchmarks import Benchmark, all_prompts, prepare_benchmarks
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.prompts import prompt_style_of
from cluster.progress.display import Progress, make_progress
from cluster.records.eval_records import EvalSample
from cluster.records.run_folder import held_folder
from cluster.runtime.sampling_system import sampling_system
from cluster.runtime.system import System
from data.prompts import render_prompt
from data.schema import VideoPrompt


def evaluate_policy(config: RunConfig) -> None:
    """Answer the held-out prompts of a configuration, then write and print what the answers come to.

    Raises:
        ActorFailure, UserError: it could not go on.
    """
    with held_folder(config.run_dir) as folder:
        _answer_and_publish(config)
        folder.check()


def _answer_and_publish(config: RunConfig) -> None:
    with make_progress(config.run.name) as progress, ClipFiles(progress.waiting) as files:
        benchmarks = prepare_benchmarks(config, progress, files)
        settings = settings_of_policy(config, benchmarks)
        claim(config.run_dir, settings)
        samples = known_samples(config)
        said: list[str] = []
        if left := unanswered(benchmarks, samples):
            with sampling_system(config, progress, files) as system:
                samples |= answer(config, system, benchmarks, left, progress)
                compact_samples(config.run_dir)
                counts = system.rewards.metrics()
            said += judge_notes(
                "answers", counts.get("judge_unreadable", 0), counts.get("judge_fallbacks", 0)
            )
    publish(config, benchmarks, samples, settings, said)


def known_samples(config: RunConfig) -> dict[str, EvalSample]:
    """The samples that a folder holds already, by prompt id.

    Raises:
        ConfigError: a line is no sample.
    """
    path = config.run_dir / SAMPLES_FILE
    try:
        return read_samples(config.run_dir) if path.exists() else {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} holds a line that is no sample; delete it: {error!r}") from error


def unanswered(benchmarks: Sequence[Benchmark], known: Mapping[str, EvalSample]) -> list[VideoPrompt]:
    """The prompts that no sample is known of, and those that could not be used."""
    done = {name for name, sample in known.items() if sample.problem is None}
    return [prompt for prompt in all_prompts(benchmarks) if prompt.id not in done]


def answer(
    config: RunConfig,
    system: System,
    benchmarks: Sequence[Benchmark],
    left: Sequence[VideoPrompt],
    progress: Progress,
) -> dict[str, EvalSample]:
    """Answer prompts a chunk after the other, each written when it is done.

    Args:
        left: Those of the benchmarks' prompts that are not answered yet.
    """
    datasets = {prompt.id: one.name for one in benchmarks for prompt in one.prompts}
    before, style = len(datasets) - len(left), prompt_style_of(config)
    progress.stage("evaluation", total=len(datasets), done=before)
    found: dict[str, EvalSample] = {}
    for samples in answers(config, system, left):
        asked = {sample.prompt.id: render_prompt(sample.prompt, style) for sample in samples}
        append_samples(config.run_dir / SAMPLES_FILE, samples, datasets, asked)
        found |= {sample.prompt.id: sample for sample in samples}
        progress.advance(before + len(found))
    return found
