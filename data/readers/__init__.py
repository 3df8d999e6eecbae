"""Readers of datasets in the form they were published in: `docs/datasets.md` says where each is found and how it lies.

    read_dataset(DatasetSpec(name, format, annotations, videos, options)) -> (prompts, problems)
    read(spec) -> Reading, which has the warnings and the place of every prompt too

A format is one file with a function `entries(spec)`, and one line of `READERS`.
"""

from collections.abc import Mapping

from data.readers import (
    activitynet_captions,
    charades_sta,
    got10k,
    got10k_json,
    longvideobench,
    mvbench,
    nextgqa,
    nextgqa_json,
    own_jsonl,
    perception_test,
    quality,
    time_r1,
    video_mme,
    video_r1,
)
from data.readers.entries import Entry, Reader
from data.readers.reading import Reading, judge
from data.readers.spec import DatasetError, DatasetSpec
from data.schema import VideoPrompt

READERS: Mapping[str, Reader] = {
    "jsonl": own_jsonl.entries,
    "charades_sta": charades_sta.entries,
    "activitynet_captions": activitynet_captions.entries,
    "got10k": got10k.entries,
    "got10k_json": got10k_json.entries,
    "nextgqa": nextgqa.entries,
    "nextgqa_json": nextgqa_json.entries,
    "video_mme": video_mme.entries,
    "longvideobench": longvideobench.entries,
    "mvbench": mvbench.entries,
    "perception_test": perception_test.entries,
    "quality": quality.entries,
    "video_r1": video_r1.entries,
    "time_r1": time_r1.entries,
}

__all__ = ["READERS", "DatasetError", "DatasetSpec", "Entry", "Reader", "Reading", "read", "read_dataset"]


def read_dataset(spec: DatasetSpec) -> tuple[list[VideoPrompt], list[str]]:
    """Read a dataset.

    Returns:
        The usable prompts (video paths made absolute), and `place: reason` of each entry that had to be skipped.

    Raises:
        DatasetError: an unknown format, an environment variable that is not set, or something that the format needs
            is not given.
        OSError: a file that the whole dataset needs cannot be read.
    """
    reading = read(spec)
    return reading.prompts, reading.problems


def read(spec: DatasetSpec) -> Reading:
    """As `read_dataset`, with everything that is known of the entries."""
    if spec.format not in READERS:
        raise DatasetError(f"{spec.name}: format must be one of {', '.join(READERS)}, found {spec.format!r}")
    if spec.unset:
        raise DatasetError(f"{spec.name}: not set in the environment: {', '.join(spec.unset)}")
    spec.annotations.stat()
    return judge(READERS[spec.format](spec))
