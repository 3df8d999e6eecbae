"""Figures with intervals: those of the registry, resampled as a slow loop does it, failures by reason."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from cluster.evaluation.figures import fractions, resampled, scored_samples, task_figures
from cluster.records.bootstrap import Fractions, bootstrap_figures, interval
from cluster.records.eval_records import EvalSample
from cluster.records.failures import failures
from data.schema import Task
from rewards import SPECS, Score, Scorer, score_response
from rewards.measures import Metric, Scored
from rewards.metrics import aggregate
from tests.cluster.fakes import make_prompts

RESAMPLES = 200


def tracked(count: int, seed: int = 0) -> list[EvalSample]:
    """Tracks of several classes, covered or not, with answers near and far, unreadable and missing."""
    rng = random.Random(seed)
    samples = []
    for n, prompt in enumerate(make_prompts(count, Task.TRACKING)):
        boxes = [[x, 0.2, x + 0.3, 0.6] for x in (rng.uniform(0, 0.5) for _ in range(8))]
        cover = [float(rng.random() < 0.6) for _ in range(8)]
        asked = replace(prompt, target={"boxes": boxes, "cover": cover, "class": f"class {n % 9}"})
        moved = [[x0 + rng.uniform(0, 0.2), *rest] for x0, *rest in boxes]
        text = f"<answer>{moved}</answer>" if n % 4 else "nowhere"
        score = score_response("tracking", text, asked.target, template="direct") if n % 5 else None
        samples.append(EvalSample(asked, text, score, problem=None if n % 5 else f"{asked.video}: cut"))
    return samples


@pytest.mark.parametrize("metric", SPECS["tracking"].metrics, ids=lambda metric: metric.name)
def test_a_figure_and_its_resamples_are_those_of_the_registry(metric: Metric) -> None:
    scored = scored_samples(tracked(23))
    (values,) = bootstrap_figures([fractions(metric, scored)], seed=3, resamples=RESAMPLES)
    rng = np.random.default_rng(3)
    drawn = [[scored[i] for i in rng.integers(0, 23, 23)] for _ in range(RESAMPLES)]
    expected = [100 * aggregate(metric, samples) for samples in (scored, *drawn)]
    assert values == pytest.approx(expected)
    assert len(set(expected)) > 5


def test_a_harmonic_mean_is_of_resampled_figures() -> None:
    rng = np.random.default_rng(1)
    scored = [
        Scored(
            {}, score=Score({"format": 1.0, "recall": recall, "precision": precision}, 1.0, True, None, None)
        )
        for recall, precision in rng.random((30, 2))
    ]
    metrics = SPECS["captioning"].metrics
    ((recall, precision, f1),) = resampled(metrics, [scored], [f"{n}.mp4" for n in range(30)])
    assert f1 == pytest.approx(2 * recall * precision / (recall + precision))
    assert f1[0] == pytest.approx(100 * aggregate(metrics[2], scored))
    own = [metrics[2].value(sample)[0] for sample in scored]
    assert abs(f1[0] - 100 * np.mean(own)) > 1, "the mean of the samples' own is another figure"


def test_figures_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    first = Fractions(rng.random(40), np.ones(40), np.zeros(40, dtype=int))
    second = first._replace(numerators=first.numerators + 0.25)
    one, other = bootstrap_figures([first, second], resamples=RESAMPLES)
    assert other - one == pytest.approx(np.full(RESAMPLES + 1, 0.25))
    assert interval(one[0], one[1:]).half_width > 0.01


def test_a_video_is_drawn_with_all_its_samples() -> None:
    rng = np.random.default_rng(1)
    one = Fractions(rng.random(30), np.ones(30), np.arange(30) % 3)
    videos = [f"v{n}" for n in range(30)]
    (plain,) = bootstrap_figures([one], seed=4, resamples=RESAMPLES)
    # With a video each nothing changes, to the last bit; and asking five times about each tells nothing more.
    (own,) = bootstrap_figures([one], seed=4, resamples=RESAMPLES, videos=videos)
    assert np.array_equal(own, plain)
    five = Fractions(*(np.repeat(column, 5) for column in one))
    (again,) = bootstrap_figures([five], seed=4, resamples=RESAMPLES, videos=np.repeat(videos, 5).tolist())
    assert again == pytest.approx(plain)
    (naive,) = bootstrap_figures([five], seed=4, resamples=RESAMPLES)
    assert interval(naive[0], naive[1:]).half_width < 0.6 * interval(plain[0], plain[1:]).half_width
    # One video: nothing is known of others, and its samples are drawn.
    (single,) = bootstrap_figures([one], seed=4, resamples=RESAMPLES, videos=["v"] * 30)
    assert np.array_equal(single, plain)


@pytest.mark.parametrize(("videos", "is_wider"), [(20, False), (2, True)])
def test_samples_that_share_videos_have_wider_intervals(videos: int, is_wider: bool) -> None:
    samples = [
        EvalSample(replace(s.prompt, video=f"v{n % videos}"), s.response, s.score, problem=s.problem)
        for n, s in enumerate(tracked(20))
    ]
    shared = task_figures("got10k", "tracking", samples, "strict", {}).figures[0]
    own = task_figures("got10k", "tracking", tracked(20), "strict", {}).figures[0]
    assert (shared.value != own.value) == is_wider
    assert shared.value.mean == own.value.mean


def test_a_part_has_a_row_of_its_own() -> None:
    samples = tracked(20)
    parts = ["easy", "hard"] * 10
    named = [replace(s, prompt=replace(s.prompt, part=part)) for s, part in zip(samples, parts, strict=True)]
    found = task_figures("got10k", "tracking", named, "strict", {})
    assert found.figures == task_figures("got10k", "tracking", samples, "strict", {}).figures
    for part, its in zip(found.parts, (samples[::2], samples[1::2]), strict=True):
        alone = task_figures("got10k", "tracking", its, "strict", {})
        assert (part.part, part.samples) == (parts[samples.index(its[0])], 10)
        # The first box repeated is the same answer to a part as to the whole.
        assert part.figure == alone.figures[0]
    assert task_figures("got10k", "tracking", samples, "strict", {}).parts == []


def test_what_failed_counts_in_every_denominator() -> None:
    samples = tracked(20)
    found = task_figures("got10k", "tracking", samples, "strict", {})
    by_name = {figure.name: figure for figure in found.figures}
    ious = [sample.value("iou") for sample in samples]
    assert by_name["AO"].value.mean == pytest.approx(100 * sum(ious) / 20, abs=1e-3)
    assert (found.samples, found.failed("unanswered"), found.failed("unreadable")) == (20, 4, 4)
    assert found.well_formed == 12
    assert found.constant_answer == "first box repeated"
    assert by_name["AO"].above.mean == pytest.approx(
        by_name["AO"].value.mean - by_name["AO"].constant, abs=1e-3
    )


def test_reasons_are_counted_without_what_is_one_samples_own() -> None:
    prompts = make_prompts(6)
    problems = [f"{p.video}: ends after {n} frames" for n, p in enumerate(prompts[:3])]
    problems.append(f"prompt {prompts[3].id}: 900 tokens with its clip, rollout.max_prompt_tokens allows 10")
    samples = [EvalSample(p, "", None, problem=why) for p, why in zip(prompts, problems, strict=False)]
    for prompt, text in zip(prompts[4:], ("when?", "<answer>2 to 3</answer>"), strict=True):
        score = score_response("temporal_grounding", text, prompt.target, duration=4.0, template="direct")
        samples.append(EvalSample(prompt, text, score))
    assert [
        (one.kind, one.reason, one.count, one.first) for one in failures("temporal_grounding", samples, {})
    ] == [
        ("unanswered", "ends after N frames", 3, "p0"),
        ("unanswered", "N tokens with its clip, rollout.max_prompt_tokens allows N", 1, "p3"),
        ("unreadable", "not exactly one <answer> block, and no other; no <answer> block", 1, "p4"),
    ]


def test_how_a_part_that_was_read_missed_is_no_reason() -> None:
    """Answers with other wrong letters and without evidence failed for one reason."""
    (prompt,) = make_prompts(1, Task.GROUNDED_QA)
    samples = []
    for letter, right in ("AB", "BC", "CD"):
        target = {"answer": right, "intervals": [[1, 2]]}
        text = f"<answer>{letter}</answer>"
        score = score_response(
            "grounded_qa", text, target, duration=4.0, options=list("wxyz"), template="direct"
        )
        assert f"{letter} is wrong" in (score.reason or "")
        samples.append(EvalSample(prompt, text, score))
    (found,) = failures("grounded_qa", samples, {})
    assert (found.count, "wrong" in found.reason, "<glue>" in found.reason) == (3, False, True)


def test_numbers_that_are_refused_are_told_together_whatever_stands_beside_them() -> None:
    (prompt,) = make_prompts(1)
    samples = []
    for answer in ("1 to 2 %", "not 1 to 2", "1 to 2 apples; or 3"):
        text = f"<think>-</think><answer>{answer}</answer>"
        samples.append(
            EvalSample(prompt, text, score_response(prompt.task, text, prompt.target, duration=4.0))
        )
    (found,) = failures(prompt.task, samples, {})
    assert (found.count, found.reason) == (3, "what stands beside a number may change its value or kind")


def test_an_answer_that_is_read_and_wrong_is_no_failure() -> None:
    (prompt,) = make_prompts(1)
    score = score_response("temporal_grounding", "<answer>3 to 4</answer>", prompt.target, duration=4.0)
    assert score.rewards["iou"] == 0
    assert failures("temporal_grounding", [EvalSample(prompt, "", score)], {}) == []


def test_options_decide_what_must_be_read() -> None:
    (prompt,) = make_prompts(1)
    options = {"max_intervals": 3}
    scorer = Scorer("temporal_grounding", options=options)
    score = scorer.score("<answer>[(1, 2)]</answer>", prompt.target, duration=4.0)
    assert failures("temporal_grounding", [EvalSample(prompt, "", score)], options) == []
