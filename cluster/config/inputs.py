"""Which run this is, the policy, and the clips and prompts it learns from."""

from __future__ import annotations

from typing import Literal

from cluster.config.base import PathText, Section, described
from data.schema import Task
from data.synthetic import TASKS as SYNTHETIC_TASKS
from rewards import Template

TINY = "tiny"
SYNTHETIC = "synthetic"


class RunSection(Section):
    """The run as a whole."""

    name: str = described(
        "run", "Name of the run and of its folder.", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    output_dir: PathText = described(
        "runs", "Folder that run folders are made in, relative to the working folder.", min_length=1
    )
    seed: int = described(
        0,
        "Seed of everything random: synthetic clips, shuffle and sampling. The tiny policy's weights are the same for "
        "every seed, as those of a published checkpoint are.",
        ge=0,
        lt=2**31,
    )
    algorithm: Literal["grpo", "sft"] = described(
        "grpo",
        "`grpo`: reinforcement learning; `sft`: only the supervised stage that `cold_start` describes.",
    )


class ModelSection(Section):
    """The policy to train."""

    path: PathText = described(
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


class Dataset(Section):
    """A dataset as it was published, or as an annotation file of one's own."""

    name: str = described(
        ...,
        "What tables call it; the ids of its prompts begin with it.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
    )
    format: str = described(
        ..., "How its annotations are read, one of the formats in docs/datasets.md.", min_length=1
    )
    annotations: PathText = described(
        ..., "Annotation file, or folder of them; `${NAME}` stands for an environment variable.", min_length=1
    )
    videos: PathText | None = described(
        None,
        "Folder of its videos; null is the folder of the annotations. Takes `${NAME}` too.",
        min_length=1,
    )
    options: dict[str, str] = described({}, "Further files or choices that its format asks for, by name.")
    cap: int | None = described(
        None,
        "Most prompts taken of it, after every filter, prompts; chosen by `run.seed`, held-out ones always alike.",
        ge=1,
    )
    duration: tuple[float, float] | None = described(
        None, "Keep prompts whose clip lasts from the first to the second number of seconds."
    )


class TrainingDataset(Dataset):
    """A dataset to train on."""

    weight: float | None = described(
        None,
        "Share among the prompts drawn, relative weights; null for all datasets draws every prompt as often.",
        gt=0,
    )
    difficulty: tuple[float, float] | None = described(
        None, "Keep its prompts of this difficulty, two numbers in 0-1; null takes `data.difficulty`."
    )


class DataSection(Section):
    """Prompts and the loaders of their clips."""

    source: PathText = described(
        SYNTHETIC, "Training prompts: `synthetic`, or an annotation file (JSONL).", min_length=1
    )
    eval_source: PathText = described(
        SYNTHETIC, "Held-out prompts: `synthetic`, or another annotation file.", min_length=1
    )
    datasets: tuple[TrainingDataset, ...] = described(
        (), "Training prompts from several datasets, in place of `source`; a list of entries as below."
    )
    eval_datasets: tuple[Dataset, ...] = described(
        (), "Held-out prompts from several datasets, in place of `eval_source`; entries without a weight."
    )
    batches: Literal["mixed", "by_task"] = described(
        "mixed", "Whether a step's prompts are of any task, or all of one, the tasks in turn by their shares."
    )
    grades: PathText | None = described(
        None, "File of graded prompts, written by `python -m cluster.grade`.", min_length=1
    )
    difficulty: tuple[float, float] | None = described(
        None, "Train on prompts of this graded difficulty only, two numbers in 0-1 (needs `grades`)."
    )
    num_prompts: int | None = described(
        2000,
        "Training prompts to render, or to take from the `source` file; null takes the whole file. Prompts.",
        ge=1,
    )
    eval_prompts_per_task: int = described(200, "Held-out prompts of each task, prompts.", ge=1)
    tasks: dict[Task, float] = described(
        dict.fromkeys(SYNTHETIC_TASKS, 1.0),
        "Share of each task among the training prompts, relative weights; one not named is left out.",
    )
    template: Template = described(
        "thinking",
        "How prompts ask for the answer, and what the format rewards: `thinking` first, the answer alone, "
        "`direct`, or `answer_first` with an explanation after it.",
    )
    num_loaders: int = described(1, "Video loaders, actors.", ge=1)
    cpus_per_loader: float = described(0.1, "CPUs reserved for a loader, cores.", ge=0)
    decode_timeout_s: float = described(
        20.0, "Longest a clip may take to decode before it is tried again, seconds.", gt=0
    )
    cache_gib: float = described(
        0.5, "Most memory that decoded clips may take in the object store, GiB.", gt=0
    )
    prefetch: int = described(2, "Optimizer steps whose clips are decoded ahead, steps.", ge=0)
