"""The real annotation files, where they are: every count and every score without a model, to the printed digit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from data.readers import READERS, DatasetSpec, Reading, read
from data.schema import Task, VideoPrompt
from rewards.boxes import box_iou
from rewards.intervals import union_iou

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "data"

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the public annotation files are not in ../shared/data"
)

Predict = Callable[[float], tuple[float, float]]


@cache
def reading(format_: str, file: str) -> Reading:
    return read(DatasetSpec(Path(file).stem, format_, SHARED / file))


def whole(duration: float) -> tuple[float, float]:
    return 0.0, duration


def first_part(duration: float) -> tuple[float, float]:
    return 0.0, 0.45 * duration


def scores(ious: Sequence[float], entries: int) -> list[str]:
    """mIoU and the share of at least 0.3, 0.5 and 0.7, in percent of all entries: unusable ones count as 0."""
    shares = [sum(iou >= threshold for iou in ious) for threshold in (0.3, 0.5, 0.7)]
    return [f"{100 * part / entries:.2f}" for part in (sum(ious), *shares)]


def seconds(prompt: VideoPrompt) -> float:
    assert prompt.duration is not None
    return prompt.duration


@pytest.mark.parametrize(
    ("format_", "file", "videos", "entries", "unusable", "outside"),
    [
        ("activitynet_captions", "charades_sta/train.json", 5338, 12408, 4, 1789),
        ("activitynet_captions", "charades_sta/test.json", 1334, 3720, 0, 562),
        ("activitynet_captions", "activitynet_captions/val_2.json", 4885, 17031, 0, 111),
        ("nextgqa", "nextgqa/val.csv", 567, 3358, 0, 3),
        ("nextgqa", "nextgqa/test.csv", 990, 5553, 0, 36),
        ("nextgqa_json", "nextgqa/nextgqa_val.json", 567, 3358, 0, 3),
        ("nextgqa_json", "nextgqa/nextgqa_test.json", 990, 5553, 0, 36),
        ("got10k_json", "got10k/got_val.json", 180, 180, 0, 0),
    ],
)
def test_counts(format_: str, file: str, videos: int, entries: int, unusable: int, outside: int) -> None:
    found = reading(format_, file)
    assert (len(found.listed), found.entries) == (videos, entries)
    # Some questions of NExT-GQA have an option twice.
    beyond = [warning for warning in found.warnings if "are the same text" not in warning]
    assert (len(found.problems), len(beyond)) == (unusable, outside)
    assert len(found.prompts) == entries - unusable


def test_the_unusable_queries_of_charades_are_reversed() -> None:
    found = reading("activitynet_captions", "charades_sta/train.json")
    assert {problem.rpartition("json")[2].partition(":")[0] for problem in found.problems} == {
        "[LEOL6][0]",
        "[IOL8Q][0]",
        "[AKKWU][0]",
        "[AKKWU][1]",
    }
    assert all("must satisfy start < end" in problem for problem in found.problems)


@pytest.mark.parametrize(("split", "mean"), [("train", "30.91"), ("test", "29.48")])
def test_mean_duration_of_charades(split: str, mean: str) -> None:
    listed = reading("activitynet_captions", f"charades_sta/{split}.json").listed
    assert f"{fmean(duration for duration in listed.values() if duration is not None):.2f}" == mean


@pytest.mark.parametrize(
    ("file", "predict", "expected"),
    [
        ("charades_sta/train.json", whole, ["26.71", "34.92", "0.10", "0.00"]),
        ("charades_sta/test.json", whole, ["26.99", "34.30", "0.43", "0.00"]),
        ("charades_sta/test.json", first_part, ["30.55", "48.79", "27.69", "11.85"]),
        ("activitynet_captions/val_2.json", whole, ["34.57", "48.02", "21.18", "12.41"]),
    ],
)
def test_a_constant_interval(file: str, predict: Predict, expected: list[str]) -> None:
    found = reading("activitynet_captions", file)
    # Five queries of ActivityNet Captions overlap by one half, and rounding decides on which side of 0.5 they fall: the
    # listed share is that of lengths added up, as here; taking first start to last end for the union gives 21.21.
    ious = [union_iou([predict(seconds(p))], [p.target["interval"]]) for p in found.prompts]
    assert scores(ious, found.entries) == expected


@pytest.mark.parametrize(
    ("format_", "file"), [("nextgqa", "test.csv"), ("nextgqa_json", "nextgqa_test.json")]
)
def test_the_whole_video_as_evidence(format_: str, file: str) -> None:
    found = reading(format_, f"nextgqa/{file}")
    ious = [union_iou([whole(seconds(p))], p.target["intervals"]) for p in found.prompts]
    assert scores(ious, found.entries) == ["22.65", "23.59", "10.21", "4.79"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_both_forms_of_nextgqa_are_the_same_questions(split: str) -> None:
    original = reading("nextgqa", f"nextgqa/{split}.csv").prompts
    released = reading("nextgqa_json", f"nextgqa/nextgqa_{split}.json").prompts
    assert {prompt.id: prompt for prompt in original} == {prompt.id: prompt for prompt in released}


def test_the_first_box_repeated() -> None:
    prompts = reading("got10k_json", "got10k/got_val.json").prompts
    ious = [[box_iou(p.first_box, box) for box in p.target["boxes"]] for p in prompts]
    with_first = [fmean(own) for own in ious]
    assert f"{100 * fmean(with_first):.2f}" == "42.35"
    assert f"{100 * fmean(fmean(own[1:]) for own in ious):.2f}" == "34.12"
    assert f"{100 * fmean(overlap >= 0.5 for overlap in with_first):.1f}%" == "32.2%"
    assert f"{100 * fmean(overlap >= 0.7 for overlap in with_first):.1f}%" == "5.6%"


def test_quality() -> None:
    spec = DatasetSpec("quality", "quality", SHARED / "quality/quality_100shot.json")
    fields = [entry.fields() for entry in READERS["quality"].entries(spec)]
    assert Counter(item["target"]["label"] for item in fields) == {"low quality": 100, "high quality": 100}
    assert {tuple(item["options"]) for item in fields} == {("low quality", "high quality")}
    assert len({item["video"] for item in fields}) == 200
    if "quality" in list(Task):
        assert len(read(spec).prompts) == 200
