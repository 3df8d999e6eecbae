"""Whether what a configuration names is there: policy, annotations, grades, custom rewards, the judge's key."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from actors.custom_reward import CustomRewardError, load_custom_reward
from actors.judge_key import clean_key
from cluster.config import SYNTHETIC, TINY, Dataset, RunConfig
from cluster.config.problems import Problem
from cluster.config.reward_checks import VARIABLE
from cluster.inputs.datasets import read_entry, spec_of
from cluster.inputs.grades import read_difficulties
from cluster.planning.custom_rewards import custom_reward_problem
from cluster.planning.model_geometry import CONFIG_FILE, find_geometry, read_model_config
from data.limits import reason_of
from data.readers import DatasetError, Reading
from data.schema import Task, VideoPrompt

MODEL_TYPE = "qwen2_5_vl"
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
HUB_TIMEOUT_S = 10.0
# What an engine reads beside the weights, and under which names: as transformers 5 saves it, or as on the Hub.
PROCESSOR_FILES = {
    "processor": ("processor_config.json", "preprocessor_config.json"),
    "tokenizer": ("tokenizer.json", "vocab.json"),
    "tokenizer configuration": ("tokenizer_config.json",),
    "chat template": ("chat_template.jinja", "chat_template.json"),
}
# Clips looked for on disk before their folder is taken to be wrong.
CLIPS_LOOKED_FOR = 100


def missing_things(
    config: RunConfig, only_look: bool = False, said: list[str] | None = None
) -> Iterator[Problem]:
    """Everything named in the configuration that is not there or cannot be used.

    Args:
        said: Gains a line on every dataset that is read: which share of it is used.
        only_look: Neither ask the Hub about a model that is not on this machine, a few seconds at most, nor run the
            configuration's own code: reward functions are imported otherwise.
    """
    yield from _model(config.model.path, not only_look)
    yield from _context(config)
    shares: list[str] = [] if said is None else said
    yield from _source(config, "data.source", config.data.source, shares)
    yield from _source(config, "data.eval_source", config.data.eval_source, shares)
    yield from _datasets(config, shares)
    yield from _grades(config.data.grades)
    yield from _rewards_to_see(config) if only_look else _rewards(config)
    yield from _judge(config)


def _model(path: str, ask_hub: bool) -> Iterator[Problem]:
    if path == TINY:
        return
    if Path(path).is_dir():
        yield from _model_folder(Path(path))
    elif not HUB_ID.fullmatch(path):
        yield Problem(
            ("model.path",), f"there is no such folder, and it is not `{TINY}` or a Hub id `owner/name`"
        )
    else:
        yield from _hub_model(path, ask_hub)


def _model_folder(folder: Path) -> Iterator[Problem]:
    if not (folder / CONFIG_FILE).is_file():
        yield Problem(
            ("model.path",), f"the folder holds no {CONFIG_FILE}; a Hugging Face checkpoint has one"
        )
        return
    config = read_model_config(folder)
    if config is None:
        yield Problem(("model.path",), f"its {CONFIG_FILE} is not JSON")
    elif config.get("model_type") != MODEL_TYPE:
        kind = config.get("model_type")
        yield Problem(
            ("model.path",), f"{CONFIG_FILE} says model_type {kind!r:.80}; only {MODEL_TYPE!r} is trained"
        )
    if not list(folder.glob("*.safetensors")):
        yield Problem(("model.path",), "the folder holds no weights (*.safetensors)")
    for what, names in PROCESSOR_FILES.items():
        if not any((folder / name).is_file() for name in names):
            yield Problem(("model.path",), f"the folder holds no {what} ({' or '.join(names)})")


def _hub_model(path: str, ask_hub: bool) -> Iterator[Problem]:
    from huggingface_hub import HfApi, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(path, CONFIG_FILE), str):
        return
    if not ask_hub:
        yield Problem(("model.path",), "not on this machine yet; a real start downloads it from the Hub")
        return
    try:
        HfApi().model_info(path, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # whatever keeps the Hub from answering, the model cannot be had
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        yield Problem(
            ("model.path",),
            f"neither a local folder nor downloaded before, and the Hub does not give it ({reason})",
        )


def _context(config: RunConfig) -> Iterator[Problem]:
    geometry = find_geometry(config.model.path)
    if geometry and config.max_model_tokens > geometry.max_tokens:
        yield Problem(
            ("rollout.max_prompt_tokens", "rollout.max_response_tokens", "model.path"),
            f"{config.max_model_tokens} tokens together; the model's positions end at {geometry.max_tokens}",
        )


def _source(config: RunConfig, key: str, source: str, shares: list[str]) -> Iterator[Problem]:
    if source != SYNTHETIC:
        yield from _dataset(config, source, key, key, (key,), shares)


def _datasets(config: RunConfig, shares: list[str]) -> Iterator[Problem]:
    for name, entries in (("datasets", config.data.datasets), ("eval_datasets", config.data.eval_datasets)):
        for index, entry in enumerate(entries):
            key = f"data.{name}[{index}]"
            annotations = f"{key}.annotations"
            yield from _dataset(config, entry, key, annotations, (f"{key}.videos", annotations), shares)


def _dataset(
    config: RunConfig,
    entry: Dataset | str,
    key: str,
    annotations: str,
    videos: tuple[str, ...],
    shares: list[str],
) -> Iterator[Problem]:
    """What is wrong with a dataset, told of the key of the whole, of its annotations or of its videos."""
    wanted = _wanted(config)
    try:
        prompts, reading = read_entry(entry, wanted)
    except (DatasetError, OSError) as error:
        at = annotations if isinstance(error, OSError) else key
        yield Problem((at,), f"cannot be read: {reason_of(error)}")
        return
    shares.append(_share(spec_of(entry).name, key, prompts, reading, wanted))
    if not prompts:
        yield Problem((key,), reading.nothing_left(wanted))
        return
    absent = sorted(set(wanted) - {prompt.task for prompt in prompts})
    if absent and isinstance(entry, str):
        yield Problem(
            (key, "data.tasks"), f"the file has no prompt of {', '.join(absent)}; give them weight 0"
        )
    yield from _clips(videos, prompts)


def _share(
    name: str, key: str, prompts: Sequence[VideoPrompt], reading: Reading, wanted: Collection[Task]
) -> str:
    """How many entries of a dataset its filters leave, and what each takes."""
    others = Counter(str(prompt.task) for prompt in reading.prompts if prompt.task not in wanted)
    filters = []
    if others:
        counts = ", ".join(f"{task} ({count:,})" for task, count in others.most_common())
        filters.append(f"data.tasks leaves out {counts}")
    if too_long := len(reading.prompts) - others.total() - len(prompts):
        filters.append(f"{key}.duration leaves out {too_long:,} by their length")
    use = "evaluate on" if key.startswith("data.eval") else "train on"
    used = f"{name}: {len(prompts):,} of {len(reading.prompts):,} usable entries are left to {use}"
    return "; ".join([used, *filters])


def _clips(keys: tuple[str, ...], prompts: list[VideoPrompt]) -> Iterator[Problem]:
    clips = [prompt.video for prompt in prompts[:CLIPS_LOOKED_FOR]]
    if not any(map(os.path.exists, clips)):  # Path.exists raises for a name that is too long
        yield Problem(keys, f"none of its first {len(clips)} clips is there; the first is {clips[0]}")


def _wanted(config: RunConfig) -> list[Task]:
    return [task for task, weight in config.data.tasks.items() if weight > 0]


def _grades(path: str | None) -> Iterator[Problem]:
    if path is None:
        return
    try:
        read_difficulties(path)
    except OSError as error:
        hint = "; `python -m cluster.grade` writes it" if isinstance(error, FileNotFoundError) else ""
        yield Problem(("data.grades",), f"cannot be read: {error.strerror or error}{hint}")
    except ValueError as error:
        yield Problem(("data.grades",), f"holds a line that is no grade: {str(error).splitlines()[0]}")


def _rewards(config: RunConfig) -> Iterator[Problem]:
    for task, path in config.reward.custom.items():
        try:
            load_custom_reward(task, path)
        except CustomRewardError as error:
            yield Problem(("reward.custom",), str(error))


def _rewards_to_see(config: RunConfig) -> Iterator[Problem]:
    for task, path in config.reward.custom.items():
        if problem := custom_reward_problem(task, path):
            yield Problem(("reward.custom",), problem)


def _judge(config: RunConfig) -> Iterator[Problem]:
    variable = config.judge.api_key_variable
    if not config.judge.base_url or not variable or not VARIABLE.fullmatch(variable):
        return
    key = os.environ.get(variable, "").strip()
    problem = None if key else "no such environment variable is set here, or it is empty"
    try:
        clean_key(key)
    except ValueError as error:
        problem = f"what the environment variable holds cannot be sent: it {error}"
    if problem:
        yield Problem(("judge.api_key_variable",), problem)
