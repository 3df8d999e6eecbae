"""Readers of datasets in the form they were published in: `docs/datasets.md` says where each is found and how it lies.

    read_dataset(DatasetSpec(name, format, annotations, videos, options)) -> (prompts, problems)
    read(spec) -> Reading, which has the warnings and the place of every prompt too

A format is one file with a function `entries(spec)`, and one line of `READERS`, which names its options.
"""

import difflib
from collections.abc import Mapping, Sequence

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
    "jsonl": Reader(own_jsonl.entries),
    "charades_sta": Reader(charades_sta.entries, ("durations",)),
    "activitynet_captions": Reader(activitynet_captions.entries),
    "got10k": Reader(got10k.entries),
    "got10k_json": Reader(got10k_json.entries),
    "nextgqa": Reader(nextgqa.entries, ("spans", "video_map", "task")),
    "nextgqa_json": Reader(nextgqa_json.entries),
    "video_mme": Reader(video_mme.entries, ("length",)),
    "longvideobench": Reader(longvideobench.entries),
    "mvbench": Reader(mvbench.entries),
    "perception_test": Reader(perception_test.entries, ("task",)),
    "quality": Reader(quality.entries),
    "video_r1": Reader(video_r1.entries),
    "time_r1": Reader(time_r1.entries),
}

__all__ = ["READERS", "DatasetError", "DatasetSpec", "Entry", "Reader", "Reading", "read", "read_dataset"]


def read_dataset(spec: DatasetSpec) -> tuple[list[VideoPrompt], list[str]]:
    """Read a dataset.

    Returns:
        The usable prompts (video paths made absolute), and `place: reason` of each entry that had to be skipped.

    Raises:
        DatasetError: an unknown format or option, an environment variable that is not set, or something that the format
            needs is not given.
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
    reader = READERS[spec.format]
    unknown = [option for option in spec.options if option not in reader.options]
    if unknown:
        raise DatasetError(f"{spec.name}: {_no_such_option(unknown[0], spec.format, reader.options)}")
    spec.annotations.stat()
    return judge(reader.entries(spec))


def _no_such_option(name: str, format_: str, known: Sequence[str]) -> str:
    meant = [f"did you mean {near}?" for near in difflib.get_close_matches(name, known, n=1)]
    valid = f"valid here: {', '.join(known)}" if known else "it takes none"
    return "; ".join([f"{format_} has no option {name!r:.60}", *meant, valid])
