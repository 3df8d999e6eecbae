"""What claims or holds more than is read is refused with its reason, before memory or minutes are spent on it."""

from __future__ import annotations

import io
import re
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data import decoder as decoder_module
from data.decoder import IsolatedDecoder
from data.limits import MAX_DECODER_BYTES
from data.sampling import SamplingContract
from data.video import ClipError, decode_clip
from data.video_file import DECODER_OPTIONS
from tests.videos import write_sizes, write_uneven, write_video

CONTRACT = SamplingContract()


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(CONTRACT) as isolated:
        yield isolated


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that children were asked for."""
    asked: list[str] = []
    plain = decoder_module._Child.decode

    def decode(self: decoder_module._Child, request: decoder_module.Request, deadline: float) -> object:
        asked.append(request[0])
        return plain(self, request, deadline)

    monkeypatch.setattr(decoder_module._Child, "decode", decode)
    return asked


def refusal(decoder: IsolatedDecoder, path: Path, frame_rate: float | None = None) -> str:
    """Why a clip is refused, which takes little time and memory, and one child."""
    started = time.monotonic()
    with pytest.raises(ClipError) as refused:
        decoder.decode(str(path), frame_rate=frame_rate)
    assert time.monotonic() - started < 5
    if decoder.process_id:
        status = Path(f"/proc/{decoder.process_id}/status").read_text()
        assert int(status.split("VmHWM:")[1].split()[0]) < 2**20, "less than 1 GiB"
    return refused.value.reason


def test_what_a_child_says_of_a_clip_holds(
    decoder: IsolatedDecoder, tmp_path: Path, attempts: list[str]
) -> None:
    decoder.decode(str(write_video(tmp_path / "good.mp4")))
    child = decoder.process_id
    (tmp_path / "bad.mp4").write_bytes(bytes(range(256)) * 16)
    for path in (tmp_path / "bad.mp4", tmp_path / "gone.mp4"):
        attempts.clear()
        refusal(decoder, path)
        assert attempts == [str(path)] and decoder.process_id == child


def big(path: Path, width: int, height: int, frames: int = 2, codec: str = "libx264") -> Path:
    """Grey pictures of any size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = {} if codec == "mjpeg" else {"preset": "ultrafast"}
        stream.codec_context.thread_count = 1
        for number in range(frames):
            frame = av.VideoFrame(width, height, stream.pix_fmt)
            for plane in frame.planes:
                plane.update(bytes([60 + number]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_8k_is_read(decoder: IsolatedDecoder, tmp_path: Path) -> None:
    assert decoder.decode(str(big(tmp_path / "8k.mp4", 7680, 4320))).frames.shape == (2, 336, 588, 3)
    assert decoder.memory == MAX_DECODER_BYTES


def test_a_clip_that_needs_more_memory_says_so_after_one_attempt(tmp_path: Path, attempts: list[str]) -> None:
    path, small = big(tmp_path / "8k.mp4", 7680, 4320), write_video(tmp_path / "small.mp4")
    with IsolatedDecoder(CONTRACT, memory=512 * 2**20) as decoder:
        reason = "needs more memory than the 0.5 GiB that a decoder may take: shrink it"
        assert refusal(decoder, path) == reason and attempts == [str(path)]
        assert len(decoder.decode(str(small)).frames) == 6


@pytest.mark.parametrize("mebibytes", range(300, 700, 40))
def test_a_clip_at_the_edge_of_memory_is_whole_or_refused(tmp_path: Path, mebibytes: int) -> None:
    path = big(tmp_path / "4k.mp4", 3840, 2160, 6)
    with IsolatedDecoder(CONTRACT, memory=mebibytes * 2**20) as decoder:
        try:
            clip = decoder.decode(str(path))
        except ClipError:
            assert mebibytes < 512
        else:
            assert np.array_equal(clip.frames, decode_clip(str(path), CONTRACT).frames)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "mjpeg"), (".h264", "libx264")])
def test_larger_videos_are_refused_by_their_header(
    decoder: IsolatedDecoder, tmp_path: Path, suffix: str, codec: str
) -> None:
    path = big(tmp_path / f"big{suffix}", 8192, 8192, 1, codec)
    assert refusal(decoder, path) == "its size is 8192 x 8192, more than 35.7 million pixels: shrink it"


def test_frames_may_change_their_size_but_not_their_shape(tmp_path: Path) -> None:
    path = write_sizes(tmp_path / "grows.ts", [(64, 64), (128, 128)])
    clip = decode_clip(str(path), CONTRACT)
    whole = [write_video(tmp_path / f"{size}.mp4", 24, width=size, height=size) for size in (64, 128)]
    for frames, part in zip((clip.frames[:6], clip.frames[6:]), whole, strict=True):
        expected = decode_clip(str(part), SamplingContract(max_frames=6)).frames
        difference = np.abs(frames.astype(int) - _as_large(expected, frames.shape[1]))
        assert difference.mean() < 12, "the same pictures, scaled"
    path = write_sizes(tmp_path / "turns.ts", [(128, 64), (64, 128)])
    with pytest.raises(ClipError, match="its frames change from 128 x 64 to 64 x 128 pixels: split it"):
        decode_clip(str(path), CONTRACT)


def _as_large(frames: np.ndarray, size: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(f).resize((size, size))) for f in frames]).astype(int)


def test_frames_that_grow_beyond_the_limit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DECODER_OPTIONS, "max_pixels", "10000")
    path = write_sizes(tmp_path / "grows.ts", [(64, 64), (128, 128)])
    with pytest.raises(ClipError, match="damaged or cut short"):
        decode_clip(str(path), CONTRACT)


def png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("height", "reason"),
    [(170_000_000, "more than 134.2 million pixels"), (90_000_000, "a side longer than 65536 pixels")],
)
def test_a_picture_of_millions_of_rows_is_refused_by_its_header(
    decoder: IsolatedDecoder, tmp_path: Path, height: int, reason: str
) -> None:
    (tmp_path / "rows.png").write_bytes(png(1, height, b"\0\0" * height))
    assert reason in refusal(decoder, tmp_path / "rows.png")
    assert "damaged" not in refusal(decoder, tmp_path / "rows.png")


def claiming_65535(kind: str) -> bytes:
    """An animation whose header claims 65,535 x 65,535 pixels."""
    images = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    images[0].save(file := io.BytesIO(), kind, save_all=True, append_images=images[1:], duration=100)
    content = bytearray(file.getvalue())
    if kind == "GIF":
        content[6:10] = b"\xff" * 4
    elif kind == "WEBP":
        content[24:30] = b"\xfe\xff\0" * 2
    elif kind == "PNG":
        content[16:24] = struct.pack(">II", 65535, 65535)
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_of_65535_rows_and_columns_is_refused(
    decoder: IsolatedDecoder, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "a").write_bytes(claiming_65535(kind))
    assert "pixels" in refusal(decoder, tmp_path / "a")


def patched_mp4(path: Path, box: bytes, offset: int, *values: int) -> Path:
    """An MP4 whose box has other 32-bit numbers from `offset` bytes after its name on."""
    content = bytearray(write_video(path).read_bytes())
    struct.pack_into(f">{len(values)}I", content, content.index(box) + 4 + offset, *values)
    path.write_bytes(content)
    return path


def patched_avi(path: Path, offset: int, *values: int) -> Path:
    content = bytearray(write_video(path).read_bytes())
    struct.pack_into(f"<{len(values)}I", content, content.index(b"strh") + offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: patched_mp4(folder / "a.mp4", b"mdhd", 12, 2**31 - 1), "frame rate must be wrong"),
        (lambda folder: patched_mp4(folder / "a.mp4", b"stsz", 4, 100, 10**9), "holds no frames"),
        (lambda folder: patched_mp4(folder / "a.mp4", b"stsz", 4, 1, 10**8), ""),
        (lambda folder: patched_avi(folder / "a.avi", 28, 1, 10**9), "frame rate must be wrong"),
        (lambda folder: patched_avi(folder / "a.avi", 28, 2**31 - 1, 1), "more than 7 days: cut it"),
        (lambda folder: patched_avi(folder / "a.avi", 40, 10**9), "cut short"),
        (lambda folder: write_uneven(folder / "a.mkv", [0, 1, 4e8]), "0 to 4e\\+08 s, more than 7 days"),
    ],
)
def test_headers_that_claim_the_absurd(
    decoder: IsolatedDecoder, tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    assert re.search(reason, refusal(decoder, make(tmp_path)))


def test_more_frames_than_a_day_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4")
    monkeypatch.setattr("data.video_file.MAX_FRAMES", 20)
    with pytest.raises(ClipError, match="holds more than 20 frames: cut it"):
        decode_clip(str(path), CONTRACT)


@pytest.mark.parametrize(
    ("rate", "reason"), [(1e9, "frame rate must be wrong"), (1e-300, "7 days"), (5e-324, "7 days")]
)
def test_an_absurd_rate_of_a_folder(
    decoder: IsolatedDecoder, tmp_path: Path, rate: float, reason: str
) -> None:
    for number in range(4):
        Image.new("RGB", (56, 56)).save(tmp_path / f"{number}.png")
    assert reason in refusal(decoder, tmp_path, rate)


def test_a_tiff_of_many_pages_is_not_counted_to_its_end(decoder: IsolatedDecoder, tmp_path: Path) -> None:
    # 8 x 8 pixels of 8 bits, grey, each page a smaller copy (254) of the same bytes.
    tags = ((254, 1), (256, 8), (257, 8), (258, 8), (259, 1), (262, 1), (273, 8), (278, 8), (279, 64))
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    pages, at = bytearray(b"II*\0\x08\0\0\0"), 8
    for _ in range(100_000):
        at += 2 + len(fields) + 4
        pages += struct.pack("<H", len(tags)) + fields + struct.pack("<I", at)
    (tmp_path / "pages.tif").write_bytes(pages)
    assert "is a TIFF of more than" in refusal(decoder, tmp_path / "pages.tif")
