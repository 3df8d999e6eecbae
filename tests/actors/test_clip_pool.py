"""The clip pool on real loaders: every clip once, bounded, by reference, and never a hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray

from actors.clip_pool import ClipPool
from actors.video_loader import VideoLoader
from data.failures import ActorFailure
from data.sampling import SamplingContract
from data.schema import Task, VideoPrompt
from data.video import Clip, decode_clip
from tests.hanging import make_hanging
from tests.videos import write_video

CONTRACT = SamplingContract()
CLIP_BYTES = 16 * 112 * 112 * 3
MakePool = Callable[..., tuple[ClipPool, dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good clips, `0.mp4` to `5.mp4`, and an empty one."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(6):
        write_video(folder / f"{number}.mp4", frames=64 + number)
    (folder / "empty.mp4").touch()
    return folder


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """A pool on fresh loaders, and the loaders."""
    started: list[Any] = []

    def make(
        loaders: int = 1,
        max_bytes: int = 2**30,
        timeout_s: float = 120.0,
        loader_timeout_s: float = 60.0,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[ClipPool, dict[str, Any]]:
        # Only where it is needed: workers with variables of their own cannot be started ahead.
        variables = {"runtime_env": {"env_vars": dict(environment)}} if environment else {}
        actor = ray.remote(num_cpus=0.1, **variables)(VideoLoader)
        handles = {f"loader-{n}": actor.remote(CONTRACT, loader_timeout_s) for n in range(loaders)}
        started.extend(handles.values())
        return ClipPool(handles, max_bytes, timeout_s), handles

    yield make
    for handle in started:
        ray.kill(handle)


def about(
    video: Path, box_frames: tuple[int, ...] = (), span: tuple[float, float] | None = None
) -> VideoPrompt:
    target = {"boxes": [[0.1, 0.1, 0.2, 0.2]] * 8}
    return VideoPrompt(video.stem, Task.TRACKING, str(video), "it", target, 8.0, (), box_frames, span)


def fetch(ref: ray.ObjectRef | None) -> Clip:
    assert isinstance(ref, ray.ObjectRef)
    return ray.get(ref, timeout=120)


def test_clips_come_in_order_by_reference(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool(loaders=2)
    prompts = [about(folder / f"{number}.mp4") for number in (3, 0, 2)]
    for prompt, ref in zip(prompts, pool.request(prompts), strict=True):
        clip, expected = fetch(ref), decode_clip(prompt.video, CONTRACT)
        assert np.array_equal(clip.frames, expected.frames) and clip.digest == expected.digest
        assert pool.facts(prompt).duration == expected.duration
        assert not clip.frames.flags.writeable, "a copy, not the object store's memory"


def test_a_clip_is_decoded_once(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    prompt = about(folder / "0.mp4")
    first, second = pool.request([prompt, prompt])
    (third,) = pool.request([prompt])
    assert first == second == third
    metrics = pool.metrics()
    assert (metrics["misses"], metrics["hits"]) == (1, 2)
    assert metrics["cached_bytes"] == CLIP_BYTES and metrics["decode_seconds"] > 0


def test_box_frames_make_another_clip(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    boxes = (0, 5, 9, 22, 30, 41, 52, 63)
    plain, boxed = pool.request([about(folder / "0.mp4"), about(folder / "0.mp4", boxes)])
    assert fetch(boxed).frame_indices == boxes
    assert len(fetch(plain).frame_indices) == 16


def test_a_span_makes_another_clip_with_a_fate_of_its_own(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    whole, part, beyond = (about(folder / "0.mp4", span=span) for span in (None, (1.0, 3.0), (90.0, 99.0)))
    clips = pool.request([whole, part, beyond])
    assert fetch(clips[0]).duration == 8.0
    assert fetch(clips[1]).frame_indices == (8, 12, 16, 20)
    assert tuple(pool.facts(prompt).duration for prompt in (whole, part)) == (8.0, 2.0)
    assert clips[2] is None
    assert pool.problem(whole) is None and "past the end" in str(pool.problem(beyond))


def test_prefetched_clips_are_waiting(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    prompts = [about(folder / f"{number}.mp4") for number in range(3)]
    pool.prefetch(prompts)
    assert pool.metrics()["misses"] == 3
    end = time.monotonic() + 120
    while pool.metrics()["loading"]:
        assert time.monotonic() < end
        pool.prefetch([])
        time.sleep(0.02)
    assert all(pool.request(prompts))
    metrics = pool.metrics()
    assert (metrics["misses"], metrics["hits"]) == (3, 0)


def test_an_unusable_clip_is_quarantined_by_name(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    bad, missing, good = (about(folder / name) for name in ("empty.mp4", "gone.mp4", "0.mp4"))
    assert [ref is None for ref in pool.request([bad, good, missing])] == [True, False, True]
    assert pool.request([bad]) == [None]
    assert pool.metrics()["misses"] == 3 and pool.metrics()["quarantined"] == 2
    assert pool.quarantined == {
        bad.video: "is empty (zero bytes): download it again",
        missing.video: "No such file or directory",
    }


def test_the_least_recently_used_clips_go_first(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool(max_bytes=2 * CLIP_BYTES)
    zero, one, two = (about(folder / f"{number}.mp4") for number in range(3))
    (held,) = pool.request([zero])
    pool.request([one])
    pool.request([zero])
    pool.request([two])
    assert pool.metrics()["evicted"] == 1 and pool.metrics()["cached_bytes"] == 2 * CLIP_BYTES
    pool.request([zero, two])
    assert pool.metrics()["misses"] == 3
    pool.request([one])
    assert pool.metrics()["misses"] == 4
    assert fetch(held).frames.shape == (16, 112, 112, 3), "a reference outlives its place in the pool"


def test_a_request_larger_than_the_pool_is_served_whole(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool(max_bytes=CLIP_BYTES)
    refs = pool.request([about(folder / f"{number}.mp4") for number in range(4)])
    assert [fetch(ref).duration for ref in refs] == [8.0, 8.125, 8.25, 8.375]
    assert pool.metrics()["cached"] == 1


def test_a_request_keeps_what_it_asks_for_while_prefetched_clips_arrive(
    make_pool: MakePool, folder: Path
) -> None:
    pool, _ = make_pool(max_bytes=CLIP_BYTES)
    zero, one = about(folder / "0.mp4"), about(folder / "1.mp4")
    pool.request([zero])
    pool.prefetch([one])
    ray.wait([load.report for load in pool._loading.values()], timeout=120)
    assert [fetch(ref).duration for ref in pool.request([zero, one])] == [8.0, 8.125]
    assert pool.metrics()["misses"] == 2


def test_clips_outlive_their_loader(make_pool: MakePool, folder: Path) -> None:
    pool, loaders = make_pool()
    (ref,) = pool.request([about(folder / "0.mp4")])
    ray.kill(loaders["loader-0"])
    time.sleep(0.5)
    assert fetch(ref).duration == 8.0


def test_a_dead_loader_is_named(make_pool: MakePool, folder: Path) -> None:
    pool, loaders = make_pool(loaders=2)
    pool.request([about(folder / "0.mp4"), about(folder / "1.mp4")])
    ray.kill(loaders["loader-1"])
    started = time.monotonic()
    with pytest.raises(ActorFailure, match="loader-1 failed while decoding clips"):
        pool.request([about(folder / "2.mp4"), about(folder / "3.mp4")])
    assert time.monotonic() - started < 100, "it was waited for"


def test_a_loader_that_does_not_answer_is_named(
    make_pool: MakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader allows a hanging clip more time than the pool allows the loader."""
    monkeypatch.setattr("actors.clip_pool.START_TIMEOUT_S", 0.5)
    _, environment = make_hanging(tmp_path)
    pool, _ = make_pool(timeout_s=1.0, loader_timeout_s=60.0, environment=environment)
    with pytest.raises(ActorFailure, match="loader-0 failed while decoding clips.\n.*no answer within 3 s"):
        pool.request([about(tmp_path / "hanging.mp4")])


def test_a_hanging_clip_is_quarantined_and_the_rest_goes_on(
    make_pool: MakePool, folder: Path, tmp_path: Path
) -> None:
    _, environment = make_hanging(tmp_path)
    pool, _ = make_pool(loader_timeout_s=3.0, environment=environment)
    hanging, good = about(tmp_path / "hanging.mp4"), about(folder / "5.mp4")
    bad, ref = pool.request([hanging, good])
    assert bad is None and fetch(ref).duration == 69 / 8
    assert pool.quarantined == {hanging.video: "not decoded within 3 s"}


def test_a_closer_look_is_a_clip_of_its_own(make_pool: MakePool, folder: Path) -> None:
    pool, _ = make_pool()
    usual = about(folder / "0.mp4")
    closer = replace(usual, windows=((2.0, 4.0),))
    even, dense = (fetch(clip) for clip in pool.request([usual, closer]))
    assert even.frame_indices != dense.frame_indices and even.digest != dense.digest
    assert pool.facts(closer).moments == dense.moments
    assert pool.metrics()["misses"] == 2
