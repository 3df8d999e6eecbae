"""Answers that use no model, scored over the real annotation files: the figures that come with them, digit by digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewards import constant_baseline, score_response
from rewards.measures import Scored
from rewards.metrics import evaluate_task

DATA = Path(__file__).parents[2] / "../shared/data"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no annotation files in {DATA}")


def read(name: str) -> Any:
    return json.loads((DATA / name).read_text())


def grounding_targets(name: str) -> list[tuple[dict[str, Any], float]]:
    return [
        ({"interval": interval}, video["duration"])
        for video in read(name).values()
        for interval in video["timestamps"]
    ]


def percent(figures: dict[str, float], *names: str) -> list[str]:
    return [f"{100 * figures[name]:.2f}" for name in names]


@pytest.mark.parametrize(
    ("name", "share", "figures"),
    [
        ("charades_sta/train.json", 1.0, ["26.71", "34.92", "0.10", "0.00"]),
        ("charades_sta/test.json", 1.0, ["26.99", "34.30", "0.43", "0.00"]),
        ("charades_sta/test.json", 0.45, ["30.55", "48.79", "27.69", "11.85"]),
        ("activitynet_captions/val_2.json", 1.0, ["34.57", "48.02", "21.18", "12.41"]),
    ],
)
def test_an_interval_in_fractions_of_the_clip(name: str, share: float, figures: list[str]) -> None:
    samples = []
    for target, duration in grounding_targets(name):
        answer = f"<answer>0 to {share * duration}</answer>"
        score = score_response("temporal_grounding", answer, target, duration=duration, template="direct")
        samples.append(Scored(target, duration, (), score))
    assert percent(evaluate_task("temporal_grounding", samples), "mIoU", "R@0.3", "R@0.5", "R@0.7") == figures


def test_the_best_constant_interval_is_the_known_one() -> None:
    baseline = constant_baseline("temporal_grounding", grounding_targets("charades_sta/test.json"))
    assert baseline.description == "0% to 45% of the clip"
    assert f"{100 * baseline.mean:.2f}" == "30.55"


def test_the_whole_video_as_evidence() -> None:
    values = []
    for item in read("nextgqa/nextgqa_test.json"):
        target = {"answer": item["answer"], "intervals": item["glue"]}
        answer = f"<answer>A</answer><glue>[(0, {item['duration']})]</glue>"
        score = score_response("grounded_qa", answer, target, duration=item["duration"], template="direct")
        values.append(score.rewards["evidence_iou"])
    shares = [sum(value >= threshold for value in values) for threshold in (0.3, 0.5, 0.7)]
    figures = [sum(values), *shares]
    assert [f"{100 * figure / len(values):.2f}" for figure in figures] == ["22.65", "23.59", "10.21", "4.79"]


def test_the_first_box_repeated() -> None:
    items = [({"boxes": item["gt"]}, None) for item in read("got10k/got_val.json")]
    scores = constant_baseline("tracking", items).scores
    samples = [Scored(target, None, (), score) for (target, _), score in zip(items, scores, strict=True)]
    figures = evaluate_task("tracking", samples)
    assert percent(figures, "AO with first", "AO") == ["42.35", "34.12"]
    reached = (figures["AO with first >= 0.5"], figures["AO with first >= 0.7"])
    assert [f"{100 * figure:.1f}" for figure in reached] == ["32.2", "5.6"]
