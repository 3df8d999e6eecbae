"""A frame is told at the second at which a player shows it: every container, codec and clock that PyAV can write.

Two independent checks for each frame that the project shows. The number in the picture says which picture it is, and
the generator knows from when to when this picture is on the screen: the told second lies within that time. And the
pixels are those that PyAV gives for this picture when it reads the file from the start, without a seek.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract
from data.video import Clip, ClipError, Span, decode_clip, resize_frame
from tests.clips import Recipe, Sound, draw_number, evenly, read_number, write_clip

SMALL = {"min_pixels": 4 * 28 * 28, "max_pixels": 16 * 28 * 28}
# Frames far apart, between which a reader seeks; and frames so dense that it reads on.
SPARSE = SamplingContract(fps=0.1, min_frames=4, max_frames=4, **SMALL)
DENSE = SamplingContract(fps=8, min_frames=4, max_frames=48, **SMALL)
# Parts of a clip, as shares of its length: the whole, a part in the middle and a part late in the file.
PARTS: Mapping[str, tuple[float, float] | None] = {
    "whole": None,
    "middle": (0.41, 0.56),
    "late": (0.78, 0.97),
}
# A told second may be off by this share of the shortest time that a picture of the clip stands.
SHARE_OF_A_PICTURE = 0.25

TENTH, FINE = Fraction(1, 10), Fraction(1, 90000)
# 5 s at 30 pictures per second, then 6 s at 1.5: a screen recording in which little happens.
TWO_RATES = (*evenly(5, 30), *evenly(6, 1.5, start=5))
GAP = (*evenly(3, 10), *evenly(2, 10, start=8))
SLOW_START = (0, 2, *evenly(6, 10, start=4))
_STEPS = np.random.default_rng(1).integers(20, 300, 80)
JITTER = tuple(float(time) for time in np.cumsum(_STEPS) / 1000)
B_FRAMES = {"g": "24", "bf": "3"}
# No packet of a program stream (2 KB) holds the starts of two pictures, so each picture has a time.
LARGE_PICTURES = {"g": "12", "bf": "2", "b": "800k", "minrate": "800k", "maxrate": "800k", "bufsize": "400k"}


def tenths(suffix, codec="libx264", seconds=12, options=B_FRAMES, **rest) -> Recipe:
    """Ten pictures per second."""
    times = rest.pop("times", evenly(seconds, 10))
    return Recipe(suffix, times, times[-1] + 0.1, codec, options, **{"time_base": TENTH, **rest})


def film(suffix, codec, options=None, seconds=8, **rest) -> Recipe:
    """25 pictures per second: MPEG-1 and MPEG-2 know few rates."""
    options = options or {"g": "12", "bf": "2"}
    rate = Fraction(25)
    return Recipe(suffix, evenly(seconds, 25), seconds, codec, options, time_base=1 / rate, rate=rate, **rest)


def x264(parameters, suffix=".mp4", **rest) -> Recipe:
    return tenths(suffix, options={"x264-params": parameters}, **rest)


def x265(suffix, parameters="", seconds=12, **rest) -> Recipe:
    """x265 opens its groups of pictures unless told otherwise."""
    quiet = "log-level=none:pools=1:frame-threads=1"
    return tenths(suffix, "libx265", seconds, {"x265-params": f"{quiet}:{parameters}"}, **rest)


def vpx(suffix, codec, **rest) -> Recipe:
    """VP8 and VP9 with pictures that are decoded and never shown (alternate references)."""
    options = {"g": "30", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "4"}
    return tenths(suffix, codec, options=options, **rest)


def av1(suffix, **rest) -> Recipe:
    # Faster presets leave out the changes that tell pictures apart.
    options = {"preset": "8", "crf": "30", "svtav1-params": "keyint=24"}
    return tenths(suffix, "libsvtav1", options=options, **rest)


def uneven(suffix, times, end, **rest) -> Recipe:
    options = rest.pop("options", B_FRAMES)
    return Recipe(suffix, times, end, options=options, **rest)


def late_picture(suffix, sound="aac", **rest) -> Recipe:
    """The picture starts 4 s after the sound."""
    return tenths(suffix, times=evenly(8, 10, start=4), sound=Sound(0, 12, sound), **rest)


def late_sound(suffix, sound="aac", **rest) -> Recipe:
    return tenths(suffix, seconds=8, sound=Sound(3, 5, sound), **rest)


def mp4(seconds=12, cut=None, **mux_options) -> Recipe:
    return tenths(".mp4", seconds=seconds, cut=cut, time_base=FINE, mux_options=mux_options)


FRAGMENTS = "frag_keyframe+empty_moov"
CLIPS: Mapping[str, Recipe] = {
    # Containers.
    "mp4": tenths(".mp4"),
    "mov": tenths(".mov"),
    "m4v": tenths(".m4v", format="mp4"),
    "3gp": tenths(".3gp"),
    "mkv": tenths(".mkv"),
    "flv": tenths(".flv"),
    "ts": tenths(".ts"),
    "m2ts": tenths(".m2ts", format="mpegts"),
    "nut": tenths(".nut"),
    "avi": tenths(".avi"),
    "wmv h264": tenths(".wmv", format="asf"),
    "mpg h264": tenths(".mpg", format="mpeg"),
    "mxf": film(".mxf", "mpeg2video"),
    "gif": tenths(".gif", "gif", options={}, pix_fmt="gray"),
    "gif uneven": Recipe(
        ".gif", (0, *evenly(2, 5, start=8)), 10, "gif", pix_fmt="gray", time_base=Fraction(1, 100)
    ),
    "apng": tenths(".apng", "apng", options={}, pix_fmt="rgb24"),
    # Codecs and how they group pictures.
    "h264 every picture a key": x264("keyint=1"),
    "h264 gop 12": x264("keyint=12:bframes=3:b-pyramid=normal"),
    "h264 gop 250": x264("keyint=250", seconds=30),
    "h264 one key picture": x264("keyint=infinite"),
    "h264 one key picture ts": x264("keyint=infinite", ".ts"),
    **{
        f"h264 {name} {suffix}": x264(parameters, suffix)
        for name, parameters in {
            "open": "open-gop=1:keyint=24:min-keyint=24:bframes=3:b-pyramid=normal:scenecut=0",
            "refresh": "intra-refresh=1:keyint=24",
        }.items()
        for suffix in (".mp4", ".mkv", ".ts")
    },
    "h264 interlaced": x264("interlaced=1:keyint=24"),
    "hevc": x265(".mp4", "keyint=48:min-keyint=48"),
    "hevc mkv": x265(".mkv", "keyint=48:min-keyint=48"),
    "hevc ts": x265(".ts", "keyint=48:min-keyint=48"),
    "hevc long mp4": x265(".mp4", "keyint=100:min-keyint=100:scenecut=0", 45),
    "hevc long mkv": x265(".mkv", "keyint=100:min-keyint=100:scenecut=0", 45),
    "hevc defaults": x265(".mkv", seconds=60),
    "vp8": vpx(".webm", "libvpx"),
    "vp9": vpx(".webm", "libvpx-vp9"),
    "vp9 mp4": vpx(".mp4", "libvpx-vp9"),
    "vp9 mkv": vpx(".mkv", "libvpx-vp9"),
    "av1": av1(".mp4"),
    "av1 webm": av1(".webm"),
    "av1 mkv": av1(".mkv"),
    "mpeg1": film(".mpg", "mpeg1video", LARGE_PICTURES, format="mpeg"),
    "mpeg2": film(".mpg", "mpeg2video", LARGE_PICTURES, format="mpeg"),
    "mpeg1 shared packets": film(".mpg", "mpeg1video", format="mpeg"),
    "mpeg2 shared packets": film(".mpg", "mpeg2video", format="mpeg"),
    "mpeg2 vob": film(".vob", "mpeg2video", LARGE_PICTURES, format="vob"),
    "mpeg2 ts": film(".ts", "mpeg2video"),
    "mpeg2 interlaced": film(".ts", "mpeg2video", {"g": "12", "bf": "2", "flags": "+ildct+ilme"}),
    "mpeg4 avi": tenths(".avi", "mpeg4", options={"g": "24"}),
    "mpeg4 avi b": tenths(".avi", "mpeg4", options={"g": "24", "bf": "2"}),
    "mpeg4 mp4": tenths(".mp4", "mpeg4", options={"g": "24", "bf": "2"}),
    "msmpeg4": tenths(".avi", "msmpeg4v2", options={"g": "24"}),
    "mjpeg avi": tenths(".avi", "mjpeg", options={}, pix_fmt="yuvj420p"),
    "mjpeg mov": tenths(".mov", "mjpeg", options={}, pix_fmt="yuvj420p"),
    "wmv1": tenths(".wmv", "wmv1", options={"g": "24"}, format="asf"),
    "wmv2": tenths(".wmv", "wmv2", options={"g": "24"}, format="asf"),
    "sorenson flv": tenths(".flv", "flv", options={"g": "24"}),
    "realvideo": tenths(".rm", "rv20", options={"g": "24"}),
    "prores": tenths(".mov", "prores_ks", options={}, pix_fmt="yuv422p10le"),
    "qtrle": tenths(".mov", "qtrle", options={"g": "24"}, pix_fmt="rgb24"),
    "ffv1": tenths(".mkv", "ffv1", options={"g": "24"}),
    "ffv1 avi": tenths(".avi", "ffv1", options={"g": "24"}),
    # Uneven times.
    **{
        f"{name} {suffix}": uneven(suffix, times, end, format=container)
        for name, (times, end) in {
            "two rates": (TWO_RATES, 11),
            "gap": (GAP, 10),
            "jitter": (JITTER, JITTER[-1] + 0.1),
        }.items()
        for suffix, container in {
            ".mp4": None,
            ".mov": None,
            ".mkv": None,
            ".ts": None,
            ".flv": None,
            ".wmv": "asf",
            ".avi": None,
        }.items()
    },
    # Pictures that stay at first, which nothing tells from a stream that starts late.
    **{
        f"slow start {suffix}": uneven(suffix, SLOW_START, 10, format=container)
        for suffix, container in {".mp4": None, ".avi": None, ".wmv": "asf"}.items()
    },
    "two rates wmv2": uneven(".wmv", TWO_RATES, 11, codec="wmv2", options={"g": "24"}, format="asf"),
    "two rates avi p": uneven(".avi", TWO_RATES, 11, options={"g": "24", "bf": "0"}),
    "two rates webm": uneven(
        ".webm", TWO_RATES, 11, codec="libvpx-vp9", options={"deadline": "realtime", "g": "40"}
    ),
    "two rates fragments": uneven(".mp4", TWO_RATES, 11, mux_options={"movflags": FRAGMENTS}),
    # Clocks that start elsewhere.
    **{f"late picture {suffix}": late_picture(suffix) for suffix in (".mp4", ".mov", ".mkv", ".ts", ".flv")},
    "late picture webm": late_picture(
        ".webm", "libopus", codec="libvpx-vp9", options={"deadline": "realtime"}
    ),
    "late picture avi": late_picture(".avi", "libmp3lame"),
    "late picture wmv": late_picture(".wmv", "wmav2", codec="wmv2", options={"g": "24"}, format="asf"),
    "late picture fragments": late_picture(".mp4", mux_options={"movflags": FRAGMENTS + "+delay_moov"}),
    "late picture silent mp4": tenths(".mp4", times=evenly(8, 10, start=4)),
    "late picture silent mkv": tenths(".mkv", times=evenly(8, 10, start=4)),
    **{f"late sound {suffix}": late_sound(suffix) for suffix in (".mp4", ".mkv", ".ts")},
    "late sound avi": late_sound(".avi", "libmp3lame", codec="mpeg4", options={"g": "24"}),
    "sound goes on": tenths(".mp4", seconds=8, sound=Sound(0, 12)),
    **{
        f"clock from {start} s {suffix}": tenths(suffix, seconds=8, mux_options={"output_ts_offset": start})
        for suffix in (".ts", ".mkv", ".mp4", ".flv")
        for start in ("1.4", "3600")
    },
    # The clock of a transport stream has 33 bits: it starts again after 95443.7 s.
    "clock wraps": tenths(".ts", seconds=8, mux_options={"output_ts_offset": "95440"}),
    # How mp4 writes times.
    "no edit list": mp4(use_editlist="0"),
    "negative offsets": mp4(movflags="negative_cts_offsets"),
    "cut at a key picture": mp4(cut=(2.4, 12.0)),
    "cut between key pictures": mp4(cut=(3.5, 12.0)),
    "cut at both ends": mp4(cut=(3.5, 9.0)),
    "faststart": mp4(movflags="faststart"),
    "fragments": mp4(movflags=FRAGMENTS),
    "fragments with late header": mp4(movflags=FRAGMENTS + "+delay_moov"),
    "fragment per picture": mp4(movflags="dash+frag_every_frame"),
    # The picture's shape.
    **{
        f"turned {angle} {suffix}": tenths(suffix, seconds=6, rotation=angle)
        for angle in (90, 180, 270)
        for suffix in (".mp4", ".mov", ".mkv")
    },
    "odd sides": tenths(".mp4", seconds=6, width=97, height=65, pix_fmt="yuv444p"),
    "odd sides 4:2:0": vpx(".mkv", "libvpx-vp9", seconds=6, width=97, height=65),
    "wide pixels": tenths(".mp4", seconds=6, aspect=Fraction(4, 3)),
    "ten bits": tenths(".mkv", seconds=6, pix_fmt="yuv420p10le"),
}

# How far a told second may be off, seconds, where it is more than a share of a picture.
TOLERANCES: Mapping[str, float] = {
    # AVI and ASF store when a picture is decoded. A B picture makes its neighbours wait for up to two pictures.
    **dict.fromkeys(("avi", "wmv h264", "late picture avi"), 0.22),
    "mpeg4 avi b": 0.12,
    # For the last two pictures nothing says how long they wait.
    **{f"{kind} {suffix}": 0.22 for kind in ("gap", "jitter") for suffix in (".avi", ".wmv")},
    # Only the first of the pictures in one packet has a time; FFmpeg guesses the others.
    **dict.fromkeys(("mpeg1 shared packets", "mpeg2 shared packets"), 0.10),
}
# The spacing of frames is rounded to a bfloat16 for the policy.
BFLOAT16_ERROR = 2**-8
# May be refused, for a reason with this word; must be right where they are not.
REFUSALS: Mapping[str, str] = {
    # The container does not say whether a first picture stays or a stream starts late.
    **dict.fromkeys(("slow start .avi", "slow start .wmv", "late picture avi"), "time"),
    # Most pictures have no time: several share a packet, and FFmpeg does not guess for H.264.
    "mpg h264": "time",
}
# One of each kind of fault; the others are slow.
QUICK = (
    "mp4",
    "mkv",
    "flv",
    "ts",
    "avi",
    "wmv2",
    "gif uneven",
    "h264 open .mkv",
    "h264 refresh .mkv",
    "h264 refresh .ts",
    "h264 one key picture ts",
    "hevc",
    "hevc long mkv",
    "vp9",
    "av1",
    "mpeg1",
    "mpeg2",
    "mpeg2 ts",
    "mpeg4 avi b",
    "prores",
    "two rates .mp4",
    "two rates .mkv",
    "two rates .ts",
    "gap .mp4",
    "gap .wmv",
    "two rates avi p",
    "jitter .mkv",
    "late picture .mp4",
    "late picture .mkv",
    "late picture .ts",
    "late sound .mp4",
    "late picture silent mkv",
    "sound goes on",
    "clock from 3600 s .mkv",
    "clock wraps",
    "no edit list",
    "cut between key pictures",
    "cut at both ends",
    "fragments",
    "turned 90 .mp4",
    "turned 180 .mp4",
    "odd sides",
    "wide pixels",
)


def every_clip() -> list:
    return [pytest.param(name, id=name, marks=() if name in QUICK else pytest.mark.slow) for name in CLIPS]


@pytest.mark.parametrize("name", every_clip())
def test_each_picture_is_told_at_a_second_at_which_it_is_shown(tmp_path: Path, name: str) -> None:
    recipe = CLIPS[name]
    path = write_clip(recipe, tmp_path)
    pictures = read_in_order(path, recipe)
    faults = []
    for part in PARTS:
        for contract in (SPARSE, DENSE):
            span = span_of(part, recipe)
            try:
                clip = decode_clip(str(path), contract, span=span)
            except ClipError as error:
                assert REFUSALS.get(name, "no refusal is expected") in error.reason, error
                continue
            density = "sparse" if contract is SPARSE else "dense"
            faults += [f"{part}, {density}: {fault}" for fault in faults_of(clip, name, span, pictures)]
    assert not faults, f"{len(faults)} faults, at first\n" + "\n".join(faults[:12])


def read_in_order(path: Path, recipe: Recipe) -> dict[int, np.ndarray]:
    """Every picture by its number, uint8 `[h, w, 3]`, turned as a player turns it; read without a seek."""
    pictures = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            stored = frame.to_ndarray(format="rgb24")
            pictures[read_number(stored)] = np.rot90(stored, recipe.rotation // 90)
    assert list(pictures) == recipe.numbers
    return pictures


def span_of(part: str, recipe: Recipe) -> Span | None:
    """A part of a clip in whole seconds."""
    shares = PARTS[part]
    return shares and (float(round(shares[0] * recipe.duration)), float(round(shares[1] * recipe.duration)))


def faults_of(clip: Clip, name: str, span: Span | None, pictures: Mapping[int, np.ndarray]) -> list[str]:
    """What is wrong with a clip, in words. The clock of a span starts where the span does."""
    recipe, slack = CLIPS[name], tolerance(name)
    start, stop = span or (0.0, recipe.duration)
    first = max(start, recipe.shown_between(recipe.numbers[0])[0])
    faults = []
    if abs(clip.duration - (stop - start)) > last_hold(recipe) + slack:
        faults.append(f"{clip.duration:.3f} s long, not {stop - start:.3f} s")
    seen = stop - first
    if abs(len(clip.frames) / clip.sampled_fps - seen) > last_hold(recipe) + slack + BFLOAT16_ERROR * seen:
        faults.append(f"{len(clip.frames)} frames, {clip.sampled_fps:.3f} per s, are not {seen:.3f} s")
    for place, (told, shown) in enumerate(zip(clip.frame_times, clip.frames, strict=True)):
        try:
            number = read_number(np.rot90(shown, -recipe.rotation // 90))
        except ValueError as error:
            faults.append(f"frame {place}: {error}")
            continue
        appears, disappears = recipe.shown_between(number)
        for what, second in (("told", start + told), ("wanted", first + place / clip.sampled_fps)):
            if not appears - slack <= second <= disappears + slack:
                faults.append(
                    f"frame {place}: picture {number} is shown from {appears:.3f} to {disappears:.3f} s; "
                    f"{what} at {second:.3f} s"
                )
        if not np.array_equal(shown, resize_frame(pictures[number], *shown.shape[:2])):
            faults.append(f"frame {place}: picture {number} has other pixels than when read in order")
    return faults


def tolerance(name: str) -> float:
    """How far a told second may be off, seconds."""
    recipe = CLIPS[name]
    shortest = min(later - earlier for earlier, later in pairwise(recipe.times))
    return max(SHARE_OF_A_PICTURE * shortest, TOLERANCES.get(name, 0.0))


def last_hold(recipe: Recipe) -> float:
    """How long the last picture stands, seconds: a container may leave it out of its length."""
    return recipe.end - recipe.times[-1]


@pytest.mark.parametrize("name", ["mp4", "two rates .mkv", "late picture .mp4"])
def test_a_span_starts_with_the_picture_on_the_screen(tmp_path: Path, name: str) -> None:
    path = write_clip(CLIPS[name], tmp_path)
    span = (7.34, 9.87)
    clip = decode_clip(str(path), DENSE, span=span)
    assert not faults_of(clip, name, span, read_in_order(path, CLIPS[name]))


def test_one_child_reads_clips_of_all_kinds(tmp_path: Path) -> None:
    """The isolated decoder tells the same seconds and gives the same pixels, whatever it read before."""
    with IsolatedDecoder(SPARSE) as decoder:
        for place, name in enumerate(("mp4", "mkv", "late picture .mp4", "two rates .mkv", "mp4")):
            folder = tmp_path / str(place)
            folder.mkdir()
            path = str(write_clip(CLIPS[name], folder))
            isolated, here = decoder.decode(path), decode_clip(path, SPARSE)
            assert isolated.frame_times == here.frame_times
            assert np.array_equal(isolated.frames, here.frames)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (97, 65), (84, 56), (48, 32)])
def test_a_picture_says_its_number(width: int, height: int) -> None:
    for number in (*range(0, 2048, 37), 2047):
        assert read_number(resize_frame(draw_number(number), height, width)) == number


def test_a_damaged_picture_has_no_number() -> None:
    ten, twelve = draw_number(10).astype(float), draw_number(12).astype(float)
    with pytest.raises(ValueError, match="damaged"):
        read_number((ten + twelve) / 2)
    with pytest.raises(ValueError, match="mixes"):
        half = ten.copy()
        half[:, 48:] = draw_number(11)[:, 48:]
        read_number(half)
