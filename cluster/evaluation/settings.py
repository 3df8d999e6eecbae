"""What the scores of an evaluation depend on; kept beside them, and compared before two share a folder or a table.

Three kinds of keys: `answers.*` says whose answers they are, `dataset.NAME` and `prompts.NAME` are digests of the
annotations and of the texts that were asked, everything else says how the policy was asked and how it was scored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.config import RunConfig
from cluster.errors import ConfigError
from cluster.inputs.benchmarks import Benchmark
from cluster.inputs.prompts import prompt_style_of
from cluster.records.kept_settings import chosen_settings, differences, read_settings, write_settings
from data.prompts import render_prompt
from rewards.files import open_file

# What decides how an answer is read and measured, whoever gave it, and the section of the judge.
SCORING = {"data.template", "reward.mode", "reward.options"}
JUDGE = "judge"
SECTIONS = {"video", "evaluation", JUDGE}
FIELDS = {"model.dtype", "rollout.max_prompt_tokens"} | SCORING
WITHOUT = {"evaluation.every_steps"}
NOT_KNOWN = "not known"
ANSWERS, DATASET, PROMPTS = "answers.", "dataset.", "prompts."


def settings_of_policy(config: RunConfig, benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    """The settings under which the configuration's policy answers."""
    style = prompt_style_of(config)
    prompts = {
        f"{PROMPTS}{one.name}": _digest([prompt.id, render_prompt(prompt, style)] for prompt in one.prompts)
        for one in benchmarks
    }
    answers = {
        f"{ANSWERS}model": config.model.path,
        f"{ANSWERS}files": _files_digest(Path(config.model.path)),
    }
    return {**answers, **_asked(config), **_datasets(benchmarks), **prompts}


def settings_of_predictions(
    config: RunConfig, benchmarks: Sequence[Benchmark], path: Path, template: str
) -> dict[str, Any]:
    """The settings of answers from a file: how they were asked for is not known.

    Args:
        template: By which they are read.
    """
    asked = {
        key: value if key in SCORING or key.startswith(f"{JUDGE}.") else NOT_KNOWN
        for key, value in _asked(config).items()
    }
    prompts = {f"{PROMPTS}{one.name}": NOT_KNOWN for one in benchmarks}
    with open_file(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    answers = {f"{ANSWERS}predictions": str(path), f"{ANSWERS}files": digest}
    return {**answers, **asked, "data.template": template, **_datasets(benchmarks), **prompts}


def claim(folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Make a folder that of an evaluation with these settings, which is there already or not.

    Predictions are scored anew each time, so only whose they are must be the same.

    Returns:
        How the settings differ from those of scored predictions that these take the place of.

    Raises:
        ConfigError: it holds an evaluation with others, all of which are listed.
    """
    before = read_settings(folder)
    own = f"{ANSWERS}predictions"
    rescored = before is not None and own in settings and before.get(own) == settings[own]
    differing = [] if before is None else list(differences(before, settings))
    if differing and not rescored:
        listed = "\n".join(f"  - {difference}" for difference in differing)
        raise ConfigError(
            f"{folder} holds an evaluation with other settings:\n{listed}\n"
            "Evaluate with those, or give this evaluation another run.name."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_settings(folder, settings)
    return [one for one in differing if not one.startswith(f"{ANSWERS}files")]


def obstacles(first: Mapping[str, Any], second: Mapping[str, Any], shared: Iterable[str]) -> Iterator[str]:
    """Why two evaluations do not belong into one table: settings that differ, but for whose answers they are.

    Args:
        shared: The datasets that both are of; what is asked of others does not matter.
    """
    names = {f"{kind}{name}" for kind in (DATASET, PROMPTS) for name in shared}

    def matters(key: str) -> bool:
        return key in names or not key.startswith((ANSWERS, DATASET, PROMPTS))

    kept = [{key: value for key, value in one.items() if matters(key)} for one in (first, second)]
    return differences(*kept)


def unknown_settings(settings: Mapping[str, Any]) -> list[str]:
    """The keys that are not known of an evaluation."""
    return [key for key, value in settings.items() if value == NOT_KNOWN]


def _asked(config: RunConfig) -> dict[str, Any]:
    chosen = chosen_settings(config, SECTIONS, FIELDS)
    decoding = {"decoding.temperature": 0.0, "evaluation.max_response_tokens": config.evaluation_tokens}
    return {key: value for key, value in (chosen | decoding).items() if key not in WITHOUT}


def _datasets(benchmarks: Sequence[Benchmark]) -> dict[str, str]:
    return {
        f"{DATASET}{one.name}": _digest(_annotation(prompt.to_json()) for prompt in one.prompts)
        for one in benchmarks
    }


def _annotation(fields: Mapping[str, Any]) -> dict[str, Any]:
    """All of an annotation but where its video lies, on another machine another place, and what part it counts in."""
    return {key: value for key, value in fields.items() if key not in ("video", "part")}


def _digest(items: Iterable[Any]) -> str:
    """How many, and a digest of all whatever their order."""
    lines = sorted(json.dumps(item, sort_keys=True) for item in items)
    return f"{len(lines)} prompts, {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def _files_digest(folder: Path) -> str | None:
    """A digest of names, sizes and times of a local checkpoint's files; None for any other policy."""
    if not folder.is_dir():
        return None
    stats = ((path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file())
    return _digest([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats).rpartition(" ")[2]
