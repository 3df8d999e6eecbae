"""Video files for tests: H.264 written by PyAV, and read from the start in the simplest way."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICK = Fraction(1, 90_000)


def write_video(
    path: Path,
    frames: int = 24,
    fps: float | Fraction = 8,
    width: int = 112,
    height: int = 112,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Every frame differs from every other: blocks that slide, under a bar that grows."""
    background = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    background = background.repeat(height // 8 + 1, 0).repeat(width // 8 + 1, 1)[:height, :width]
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = dict(options or {})
        for number in range(frames):
            frame = np.roll(background, 3 * number, axis=1)
            frame[: height // 4, : max(1, width * number // frames)] = (number * 7 % 256, 255, 128)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def cut_short(whole: Path, path: Path, share: float = 0.5) -> Path:
    """The first part of a file."""
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def write_sound(path: Path) -> Path:
    """An mp4 without a picture."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        for _ in range(20):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_all_frames(path: Path) -> np.ndarray:
    """Every frame in order, uint8 `[n, h, w, 3]`."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def write_uneven(path: Path, times: Sequence[float], sound_s: float = 0.0) -> Path:
    """Frames at these seconds, and silence of `sound_s` seconds from 0 on; H.264 without B-frames."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = stream.time_base = TICK
        stream.codec_context.max_b_frames = 0
        sound = container.add_stream("aac", rate=16000, layout="mono") if sound_s else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time / TICK), TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for start in range(0, round(sound_s * 16000), 1024) if sound else ():
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            silence.sample_rate, silence.pts = 16000, start
            container.mux(sound.encode(silence))
        if sound:
            container.mux(sound.encode())
    return path


def write_sizes(path: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """An MPEG-TS file of 24 frames, 3 s, of each size (width, height) in turn."""
    with av.open(str(path), "w") as container:
        target = None
        for number, (width, height) in enumerate(sizes):
            part = write_video(path.with_name(f"part{number}.ts"), width=width, height=height)
            with av.open(str(part)) as source:
                target = target or container.add_stream_from_template(source.streams.video[0])
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts += 270_000 * number
                        packet.dts += 270_000 * number
                        packet.stream = target
                        container.mux(packet)
    return path
