"""Folders of images, single images and spans are clips like any other."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract
from data.video import ClipError, decode_clip, resize_frame
from tests.videos import read_all_frames, write_uneven, write_video

CONTRACT = SamplingContract()
SIZE = (112, 140)


def write_images(folder: Path, count: int, name: str = "{}.png") -> np.ndarray:
    """Images numbered from 1, without leading zeros; uint8 `[n, h, w, 3]`."""
    folder.mkdir()
    frames = np.random.default_rng(0).integers(0, 255, (count, *SIZE, 3), dtype=np.uint8)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / name.format(number))
    return frames


def test_a_folder_is_a_video_at_its_frame_rate(tmp_path: Path) -> None:
    frames = write_images(tmp_path / "clip", 24)
    (tmp_path / "clip" / "groundtruth.txt").write_text("1,2,3,4")
    clip = decode_clip(str(tmp_path / "clip"), CONTRACT, frame_rate=4)
    assert clip.frame_indices == tuple(range(0, 24, 2)), "in the order of their numbers, 2 before 10"
    assert np.array_equal(clip.frames, frames[::2])
    assert (clip.duration, clip.sampled_fps, clip.moments[1]) == (6.0, 2.0, 0.5)


def test_box_frames_are_positions_in_the_folder(tmp_path: Path) -> None:
    frames = write_images(tmp_path / "clip", 30)
    boxes = (0, 3, 7, 11, 15, 19, 22, 29)
    clip = decode_clip(str(tmp_path / "clip"), CONTRACT, boxes, frame_rate=10)
    assert clip.frame_indices == boxes
    assert np.array_equal(clip.frames, frames[list(boxes)])


def test_an_image_is_a_video_that_stands_still(tmp_path: Path) -> None:
    frames = write_images(tmp_path / "images", 1)
    clip = decode_clip(str(tmp_path / "images" / "1.png"), CONTRACT)
    assert np.array_equal(clip.frames, frames.repeat(2, 0))
    assert (clip.sampled_fps, clip.seconds_per_grid) == (CONTRACT.fps, 1.0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_images_of_any_colours_become_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new("RGB", SIZE[::-1], (204, 204, 204)).convert(mode).save(path)
    frames = decode_clip(str(path), CONTRACT).frames
    assert frames.shape == (2, *SIZE, 3) and abs(frames.astype(int) - 204).max() <= 1


def test_unusable_images_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("cut", "text", "rate"):
        write_images(tmp_path / name, 4, "{}.jpg")
    cut, text = tmp_path / "cut" / "3.jpg", tmp_path / "text" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:500])
    text.write_text("no image")
    reasons = {
        "empty": "the folder holds no images",
        "cut": "3.jpg: damaged: ",
        "text": "1.jpg: is a text file",
        "text/1.jpg": "is a text file",
    }
    for name, reason in reasons.items():
        with pytest.raises(ClipError, match=reason):
            decode_clip(str(tmp_path / name), CONTRACT, frame_rate=4)
    with pytest.raises(ClipError, match="needs frame_rate"):
        decode_clip(str(tmp_path / "rate"), CONTRACT)
    with pytest.raises(ClipError, match="null"):
        decode_clip("a\0.mp4", CONTRACT)


@pytest.mark.parametrize(
    ("span", "first", "stop", "duration"),
    [
        ((2.0, 5.0), 20, 50, 3.0),
        ((0.0, 100.0), 0, 80, 8.0),
        # The frame on the screen when the span starts appeared before.
        ((2.05, 5.05), 20, 51, 3.0),
        # A time with the rounding of a decimal fraction: 0.7 * 10 is a little above 7.
        ((0.7000000001, 3.0), 7, 30, 2.3),
    ],
)
def test_a_span_is_sampled_and_nothing_else(
    tmp_path: Path, span: tuple[float, float], first: int, stop: int, duration: float
) -> None:
    path = write_video(tmp_path / "x.mp4", frames=80, fps=10)
    clip = decode_clip(str(path), CONTRACT, span=span)
    times = np.maximum(np.arange(first, stop) / 10 - span[0], 0)
    choice = CONTRACT.choose_frames(times, duration)
    assert clip.frame_indices == tuple(first + index for index in choice.indices)
    assert clip.sampled_fps == choice.sampled_fps and clip.duration == pytest.approx(duration)
    assert clip.frame_times == pytest.approx([times[index] for index in choice.indices])
    expected = read_all_frames(path)[list(clip.frame_indices)]
    assert np.array_equal(clip.frames, np.stack([resize_frame(f, *clip.frames.shape[1:3]) for f in expected]))


def test_a_closer_look_at_a_span_counts_from_its_start(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=80, fps=10))
    part = write_video(tmp_path / "part.mp4", frames=60, fps=10)
    closer = replace(CONTRACT, windows=((1.0, 2.5),))
    clip, alone = decode_clip(path, closer, span=(2.0, 8.0)), decode_clip(str(part), closer)
    assert clip.frame_indices == tuple(20 + index for index in alone.frame_indices)
    assert clip.frame_times == pytest.approx(alone.frame_times)
    assert alone.frame_times == pytest.approx([index / 10 for index in alone.frame_indices])
    even = decode_clip(path, CONTRACT, span=(2.0, 8.0))
    assert sum(1.0 <= time < 2.5 for time in clip.frame_times) > sum(
        1 <= time < 2.5 for time in even.frame_times
    )


def test_box_frames_of_a_span_count_from_the_start_of_the_video(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=80, fps=10))
    boxes = (20, 23, 27, 31, 34, 38, 41, 49)
    assert decode_clip(path, CONTRACT, boxes, (2.0, 5.0)).frame_indices == boxes
    with pytest.raises(ClipError, match="not all among the video's 30 frames"):
        decode_clip(path, CONTRACT, (0, *boxes[1:]), (2.0, 5.0))


def test_a_span_with_nothing_in_it_says_why(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "x.mp4", frames=80, fps=10))
    with pytest.raises(ClipError, match=r"the span \[8.0, 9.0\] starts past the end at 8.00 s"):
        decode_clip(path, CONTRACT, span=(8.0, 9.0))
    still = decode_clip(path, CONTRACT, span=(1.0, 1.1))
    assert still.frame_indices == (10, 10), "one frame stands still"
    with pytest.raises(ClipError, match="starts past the end"):
        decode_clip(path, CONTRACT, span=(1e308, 1.5e308))


def test_digest_names_span_frame_rate_and_every_image(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", 24)
    folder, video = str(tmp_path / "clip"), str(write_video(tmp_path / "x.mp4", frames=80, fps=10))
    digests = [
        decode_clip(folder, CONTRACT, frame_rate=4).digest,
        decode_clip(folder, CONTRACT, frame_rate=4.001).digest,
        decode_clip(folder, CONTRACT, span=(0.0, 6.0), frame_rate=4).digest,
        decode_clip(video, CONTRACT).digest,
        decode_clip(video, CONTRACT, span=(0.0, 8.0)).digest,
        # The same frames, shown at other times.
        decode_clip(video, CONTRACT, span=(1.95, 5.0)).digest,
        decode_clip(video, CONTRACT, span=(2.0, 5.0)).digest,
    ]
    assert decode_clip(folder, CONTRACT, frame_rate=4).digest == digests[0]
    os.utime(tmp_path / "clip" / "3.png", (0, 0))
    digests.append(decode_clip(folder, CONTRACT, frame_rate=4).digest)
    assert len(set(digests)) == len(digests)


def test_the_decoding_process_takes_spans_and_folders(tmp_path: Path) -> None:
    write_images(tmp_path / "clip", 24)
    video = str(write_video(tmp_path / "x.mp4", frames=80, fps=10))
    with IsolatedDecoder(CONTRACT) as decoder:
        for arguments in ((video, (), (2.0, 5.0), None), (str(tmp_path / "clip"), (), (1.0, 4.0), 4.0)):
            path, *rest = arguments
            there, here = decoder.decode(*arguments), decode_clip(path, CONTRACT, *rest)
            assert np.array_equal(there.frames, here.frames)
            assert (there.digest, there.frame_indices) == (here.digest, here.frame_indices)


def test_a_span_before_the_picture_says_when_it_starts(tmp_path: Path) -> None:
    path = write_uneven(tmp_path / "late.mp4", [4 + number / 10 for number in range(40)], sound_s=8)
    with pytest.raises(ClipError, match=r"the span \[1, 3\] ends before the picture starts, at 4\.0\d s"):
        decode_clip(str(path), CONTRACT, span=(1, 3))
    assert decode_clip(str(path), CONTRACT, span=(3, 6)).duration == pytest.approx(3)
