"""Decoded frames are the right ones, at the contract's size; what cannot be decoded says why."""

from __future__ import annotations

import os
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from data.sampling import TOKEN_PIXELS, SamplingContract
from data.video import ClipError, decode_clip, resize_frame
from tests.videos import cut_short, read_all_frames, write_sound, write_video

CONTRACT = SamplingContract()


@pytest.mark.parametrize(
    ("frames", "fps", "width", "height", "options"),
    [
        (64, 8, 112, 112, {}),
        (37, 12, 140, 112, {"preset": "ultrafast"}),
        (93, Fraction(30000, 1001), 178, 130, {"bf": "3", "g": "250"}),
        (300, 25, 320, 240, {"bf": "2", "g": "12"}),
        (7, 1, 64, 96, {}),
    ],
)
def test_frames_are_those_at_the_indices(
    tmp_path: Path, frames: int, fps: int | Fraction, width: int, height: int, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / "x.mp4", frames, fps, width, height, options)
    clip = decode_clip(str(path), CONTRACT)
    expected = read_all_frames(path)[list(clip.frame_indices)]
    size = CONTRACT.choose_size(height, width, len(expected))
    assert clip.frames.shape == (len(expected), *size, 3)
    assert np.array_equal(clip.frames, np.stack([resize_frame(frame, *size) for frame in expected]))
    assert clip.frame_times == pytest.approx([index / float(fps) for index in clip.frame_indices])
    assert clip.sampled_fps == pytest.approx(len(expected) * float(fps) / frames, rel=2**-8)
    assert clip.duration == pytest.approx(frames / float(fps))
    assert clip.deviation < 1e-6


def test_box_frames_decide_the_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mp4", frames=50, fps=10)
    clip = decode_clip(str(path), CONTRACT, (0, 3, 11, 20, 28, 35, 41, 49))
    assert clip.frame_indices == (0, 3, 11, 20, 28, 35, 41, 49)
    assert np.array_equal(clip.frames, read_all_frames(path)[list(clip.frame_indices)])


def test_windows_move_frames_and_leave_the_clock(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=100, fps=10))
    even = decode_clip(path, SamplingContract(max_frames=8))
    closer = decode_clip(path, SamplingContract(max_frames=8, windows=((2.0, 6.0),)))
    assert even.frames.shape == closer.frames.shape and even.frame_indices != closer.frame_indices
    assert (even.sampled_fps, even.seconds_per_grid) == (closer.sampled_fps, closer.seconds_per_grid)
    assert closer.frame_times == pytest.approx([index / 10 for index in closer.frame_indices])
    assert even.digest != closer.digest


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    """Fine black and white stripes become grey, not black or white."""
    stripes = np.zeros((280, 280, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    small = resize_frame(stripes, 56, 56)
    assert small.shape == (56, 56, 3)
    assert abs(small[4:-4, 4:-4].astype(int) - 127).max() < 20


def test_digest_names_file_content_contract_and_frames(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4"))
    digest = decode_clip(path, CONTRACT).digest
    assert digest == decode_clip(path, CONTRACT).digest
    others = {
        decode_clip(path, SamplingContract(max_pixels=32 * TOKEN_PIXELS)).digest,
        decode_clip(path, CONTRACT, (0, 1)).digest,
        decode_clip(str(write_video(tmp_path / "y.mp4")), CONTRACT).digest,
    }
    os.utime(path, (0, 0))
    others.add(decode_clip(path, CONTRACT).digest)
    assert len(others - {digest}) == 4


def test_unusable_files_say_why(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", frames=100)
    header_first = write_video(
        tmp_path / "first.mp4", frames=100, container_options={"movflags": "faststart"}
    )
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "empty.mp4").touch()
    reasons = {
        tmp_path / "missing.mp4": "No such file",
        tmp_path: "folder",
        tmp_path / "empty.mp4": "zero bytes",
        noise: "damaged, cut short or of an unknown kind",
        cut_short(whole, tmp_path / "cut.mp4"): "damaged, cut short or of an unknown kind",
        cut_short(
            header_first, tmp_path / "cut_first.mp4"
        ): r"cut short: it ends at 5.\d\d s, its header says 12.50 s",
        write_sound(tmp_path / "sound.mp4"): "holds no moving picture, only sound",
        write_video(tmp_path / "ribbon.mp4", width=4020, height=20): "4020 x 20 pixels",
    }
    for path, reason in reasons.items():
        with pytest.raises(ClipError, match=reason) as caught:
            decode_clip(str(path), CONTRACT)
        assert caught.value.path == str(path) and str(path) in str(caught.value)
        assert "\n" not in caught.value.reason


def test_an_error_crosses_processes(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(ClipError("a.mp4", "too short")))
    assert (error.path, error.reason, str(error)) == ("a.mp4", "too short", "a.mp4: too short")
