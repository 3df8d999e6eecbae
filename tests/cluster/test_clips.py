"""Prompts that cannot be used are passed over, named once, and never searched for without end."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from actors.video_loader import LoadReport
from cluster.errors import RunFailure
from cluster.inputs.clip_files import ClipFiles
from cluster.inputs.clips import MOST_NAMED, UsableClips, take_usable
from cluster.inputs.prompt_mix import Draw, PromptStream
from data.schema import VideoPrompt
from tests.cluster.fakes import FakeClips, FakeEncoder, make_prompts

CLIP_TOKENS = 10
CLIP_SECONDS = 4.25
TEXT_TOKENS = len("what?")


class FakePool:
    """Clips of ten tokens; those of `quarantined` do not decode."""

    def __init__(self, *quarantined: str) -> None:
        self.quarantined = set(quarantined)

    def request(self, prompts: list[VideoPrompt]) -> list[str | None]:
        return [None if prompt.video in self.quarantined else prompt.video for prompt in prompts]

    def problem(self, prompt: VideoPrompt) -> str | None:
        return "the file is empty" if prompt.video in self.quarantined else None

    def facts(self, prompt: VideoPrompt) -> LoadReport:
        return LoadReport(prompt.video, 0.0, tokens=CLIP_TOKENS, duration=CLIP_SECONDS)


def usable(pool: FakePool, limit: int = 100) -> tuple[UsableClips, list[str]]:
    warnings: list[str] = []
    files = ClipFiles(lambda what: nullcontext())
    return UsableClips(files, pool, FakeEncoder(), limit, warnings.append), warnings  # type: ignore[arg-type]


def test_a_clip_that_does_not_decode_is_named_once() -> None:
    clips, warnings = usable(FakePool("p1.mp4"))
    prompts = make_prompts(3)
    assert clips.request(prompts) == ["p0.mp4", None, "p2.mp4"]
    assert clips.request(prompts) == ["p0.mp4", None, "p2.mp4"]
    assert warnings == ["skipped p1.mp4: the file is empty"]
    assert [clips.problem(prompt) for prompt in prompts] == [None, "p1.mp4: the file is empty", None]


@pytest.mark.parametrize(
    ("interval", "fits"), [([1.0, 2.0], True), ([4.0, 99.0], True), ([4.25, 5.0], False), ([6.0, 9.0], False)]
)
def test_an_interval_past_the_real_end_is_named_whatever_length_is_listed(
    interval: list[float], fits: bool
) -> None:
    clips, warnings = usable(FakePool())
    prompt = replace(make_prompts(1)[0], target={"interval": interval}, duration=99.0)
    assert clips.request([prompt]) == ["p0.mp4" if fits else None]
    outside = f"target interval {interval} lies outside the clip of 4.25 s"
    assert warnings == ([] if fits else [f"skipped prompt p0: {outside}, as p0.mp4 decodes"])


def test_the_length_of_a_span_is_not_told_as_that_of_its_video() -> None:
    clips, warnings = usable(FakePool())
    prompt = replace(make_prompts(1)[0], target={"interval": [6.0, 9.0]}, duration=99.0, span=(10.5, 109.5))
    assert clips.request([prompt]) == [None]
    assert warnings[0].endswith("outside the clip of 4.25 s, as p0.mp4 from 10.5 to 109.5 s decodes")


@pytest.mark.parametrize(("limit", "fits"), [(CLIP_TOKENS + TEXT_TOKENS, True), (CLIP_TOKENS + 4, False)])
def test_a_prompt_is_as_long_as_its_text_and_its_clip(limit: int, fits: bool) -> None:
    clips, warnings = usable(FakePool(), limit)
    (prompt,) = make_prompts(1)
    assert clips.request([prompt]) == ["p0.mp4" if fits else None]
    named = "skipped prompt p0: 15 tokens with its clip, rollout.max_prompt_tokens allows 14"
    assert warnings == ([] if fits else [named])


def test_thousands_of_bad_clips_do_not_flood_the_display() -> None:
    prompts = make_prompts(1000)
    clips, warnings = usable(FakePool(*(prompt.video for prompt in prompts)))
    clips.request(prompts)
    assert len(warnings) == MOST_NAMED + 1
    assert "metrics.jsonl counts them all" in warnings[-1]


def take(
    stream: PromptStream, clips: FakeClips, position: int, count: int, most: int
) -> list[tuple[VideoPrompt, Any]]:
    places = itertools.count(position)

    def draw(count: int) -> list[Draw]:
        return [Draw(place, stream[place]) for place in itertools.islice(places, count)]

    return [(one.prompt, clip) for one, clip in take_usable(draw, clips, count, most)]  # type: ignore[arg-type]


def test_prompts_that_cannot_be_used_are_replaced_by_the_next() -> None:
    stream = PromptStream(make_prompts(10), seed=0)
    order = [stream[position].id for position in range(10)]
    taken = take(stream, FakeClips(broken={order[1], order[3]}), 0, 3, 10)
    assert [prompt.id for prompt, _ in taken] == order[:5]
    assert [clip is None for _, clip in taken] == [False, True, False, True, False]


def test_it_goes_on_into_the_next_epoch() -> None:
    stream = PromptStream(make_prompts(3), seed=0)
    taken = take(stream, FakeClips(broken={"p0"}), 2, 4, 3)
    assert [prompt for prompt, _ in taken] == [stream[position] for position in range(2, 2 + len(taken))]
    assert sum(clip is not None for _, clip in taken) == 4


def test_no_usable_prompt_at_all_ends_the_run_with_a_reason() -> None:
    prompts = [replace(prompt, video="x.mp4") for prompt in make_prompts(5)]
    clips = FakeClips(broken={prompt.id for prompt in prompts})
    with pytest.raises(RunFailure, match=r"None of the 5 training prompts can be used.*p\d is broken"):
        take(PromptStream(prompts, seed=0), clips, 0, 2, 5)
    assert len(clips.requested) < 10
