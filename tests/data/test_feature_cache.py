"""Features on disk: found again, bounded, and never torn."""

from __future__ import annotations

import errno
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from data.feature_cache import FeatureCache, feature_key

KEY = feature_key("clip", "tower")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_put_is_found_by_another_process_view(tmp_path: Path, dtype: torch.dtype) -> None:
    features = torch.randn(7, 5).to(dtype)
    FeatureCache(tmp_path / "cache", 10_000).put(KEY, features)
    reader = FeatureCache(tmp_path / "cache")
    found = reader.get(KEY)
    assert found is not None and found.dtype == dtype
    assert torch.equal(found, features)
    assert KEY in reader


def test_a_key_tells_clips_and_towers_apart() -> None:
    assert len({feature_key(clip, tower) for clip in ("a", "b") for tower in ("x", "y")}) == 4


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    features = torch.zeros(100, 10)
    cache = FeatureCache(tmp_path, 3 * 4200)
    for number, key in enumerate("abc"):
        cache.put(key, features)
        os.utime(tmp_path / f"{key}.safetensors", (number, number))
    assert cache.get("a") is not None
    cache.put("d", features)
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]
    assert cache.nbytes() <= 3 * 4200


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 1000)
    cache.put("small", torch.zeros(10))
    cache.put("large", torch.zeros(1000))
    assert cache.get("large") is None
    assert "small" in cache


def test_a_torn_file_is_as_good_as_none(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 10_000)
    cache.put(KEY, torch.zeros(50))
    path = tmp_path / f"{KEY}.safetensors"
    path.write_bytes(path.read_bytes()[:60])
    assert cache.get(KEY) is None
    assert KEY not in cache
    cache.put(KEY, torch.ones(50))
    assert cache.get(KEY) is not None
    assert [entry.name for entry in tmp_path.glob("*.safetensors")] == [path.name]


def test_refreshing_keeps_what_the_next_step_needs(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, 2 * 4200)
    for number, key in enumerate("ab"):
        cache.put(key, torch.zeros(100, 10))
        os.utime(tmp_path / f"{key}.safetensors", (number, number))
    assert cache.refresh("a") and not cache.refresh("c")
    cache.put("c", torch.zeros(100, 10))
    assert [key for key in "abc" if key in cache] == ["a", "c"]


def test_a_disk_without_room_costs_a_pass_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = FeatureCache(tmp_path, 10_000)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        cache.put(KEY, torch.zeros(50))
    assert cache.get(KEY) is None
    assert not list(tmp_path.glob(".*"))
    assert "No space left on device" in caplog.text


def fill(folder: Path, name: str, most: Any) -> None:
    cache = FeatureCache(folder, 3 * 4200)
    for number in range(40):
        cache.put(f"{name}{number}", torch.zeros(100, 10))
        with most.get_lock():
            most.value = max(most.value, cache.nbytes())


def test_several_writers_stay_below_the_bound(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    most = context.Value("q", 0)
    writers = [context.Process(target=fill, args=(tmp_path, name, most)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert 0 < most.value <= 3 * 4200


def test_what_a_crash_left_half_written_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    """Not by a reader, and not what another writer is busy with."""
    abandoned, busy = tmp_path / ".abandoned", tmp_path / ".busy"
    for path in (abandoned, busy):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    FeatureCache(tmp_path)
    assert abandoned.exists()
    FeatureCache(tmp_path, 1000)
    assert not abandoned.exists()
    assert busy.exists()
