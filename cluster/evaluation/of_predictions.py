"""Evaluation of answers from a file. They are scored in moments, so a later call scores all of them anew."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from actors.judge_reply import EndpointError
from cluster.config import RunConfig
from cluster.errors import ConfigError, RunFailure
from cluster.evaluation.judging import judge_notes
from cluster.evaluation.outcome import publish
from cluster.evaluation.predictions import notes, read_predictions, score_predictions
from cluster.evaluation.records import SAMPLES_FILE, append_samples
from cluster.evaluation.settings import claim, settings_of_predictions
from cluster.inputs.benchmarks import all_prompts, read_benchmarks
from cluster.progress.display import make_progress
from cluster.records.run_folder import held_folder
from rewards.lines import IS_A_LIST
from rewards.terminal import say


def evaluate_predictions(config: RunConfig, path: Path) -> None:
    """Score a file of answers to the held-out prompts of a configuration; write and print what they come to.

    Raises:
        UserError: a file cannot be read or is about other prompts, or the folder holds another evaluation.
    """
    with ExitStack() as stack:
        with make_progress(config.run.name) as progress:
            benchmarks = read_benchmarks(config, progress)
            try:
                predictions = read_predictions(path, benchmarks)
            except OSError as error:
                raise ConfigError(
                    f"--predictions {path} cannot be read: {error.strerror or error}"
                ) from error
            if predictions.is_list:
                say(f"{path} {IS_A_LIST}", is_error=True)
            if not predictions.responses and not predictions.unusable:
                why = "; ".join(notes(predictions)) or "it is empty"
                raise ConfigError(f"--predictions {path} has no prediction for any of the prompts: {why}")
            settings = settings_of_predictions(
                config, benchmarks, path, predictions.template(config.data.template)
            )
            stack.enter_context(held_folder(config.run_dir))
            replaced = claim(config.run_dir, settings)
            try:
                samples, judged = score_predictions(config, predictions, all_prompts(benchmarks))
            except EndpointError as error:
                raise RunFailure(str(error)) from error
            unreadable = sum(each.unreadable for each in judged)
            fallbacks = sum(each.fallbacks for each in judged)
            before = [f"takes the place of scores with {difference}" for difference in replaced]
            said = [*before, *notes(predictions), *judge_notes("answers", unreadable, fallbacks)]
            for note in said:
                progress.warn(note)
        (config.run_dir / SAMPLES_FILE).unlink(missing_ok=True)
        datasets = {prompt.id: one.name for one in benchmarks for prompt in one.prompts}
        append_samples(config.run_dir / SAMPLES_FILE, samples, datasets)
        publish(config, benchmarks, {sample.prompt.id: sample for sample in samples}, settings, said)
