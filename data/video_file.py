"""Video files, read by PyAV (FFmpeg): every frame at its presentation time.

The frames of a file are listed from its packets, without decoding, and then decoded from the nearest key frame on.
Neither the list nor a seek is believed: the decoder says the presentation time of each picture that it gives, and a
picture that is asked for must be given at its listed time. Where it is not (pictures that the list counts and nobody
sees, key frames that cannot be started at, packets without times) `UnconfirmedFrames` is raised, and the file is read
with `in_order`: decoded from its start, which gives the right frames of every file that can be decoded, and takes
longer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from data.file_kind import gif_is_cut
from data.frame_times import NO_TIMES, UnconfirmedFrames, list_frames, list_packets
from data.limits import MAX_FRAMES, MAX_VIDEO_PIXELS, TooLarge, at_most, require_pixels, require_time

# Only files: neither a playlist nor a container may make FFmpeg open an address or another file.
# Several loaders share a machine: one thread each, which takes less memory too.
OPTIONS = {"protocol_whitelist": "file", "threads": "1"}
# For pictures larger than the container says, and those that grow midway.
DECODER_OPTIONS = {"max_pixels": str(MAX_VIDEO_PIXELS)}
PLAYLISTS = frozenset({"hls", "dash", "concat", "sdp", "imf", "image2", "rtsp", "lavfi"})
# Their packets hold presentation times. Elsewhere FFmpeg derives times from the packets before, so a seek changes them.
HOLDS_TIMES = frozenset({"mov", "matroska", "mpegts"})
# These hold none at all; see `data.frame_times`.
COUNTS_TIMES = frozenset({"avi", "asf"})
# Streams without a container: FFmpeg takes them to have 25 frames a second.
GUESSES_TIMES = frozenset({"mjpeg", "obu"})
# Their headers tell when the file ends, so that one which ends earlier is known to be cut short.
DECLARES_LENGTH = frozenset({"mov", "matroska", "avi", "flv"})
# An end this much before the declared one, seconds or share of the length, is a cut and no rounding.
CUT_S, CUT_SHARE = 1.0, 0.05
# No picture of these refers to one that H.264 marks as referred to by none: pictures that nobody asked for may go.
SKIPS_UNREFERENCED = frozenset({"h264"})
# The second is that of a thread for which no stack is left.
NO_MEMORY = (MemoryError, av.error.BlockingIOError)
DECODES_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class VideoFile:
    """A video file as frames with presentation times; see `data.frame_sources.FrameSource`.

    Args:
        path: A regular file.
        in_order: Decode the file from its start, once to list its frames and once for each `read`.

    Raises:
        ValueError: the file holds no picture that can be shown, or more than `data.limits` allows; the message is the
            reason.
        MemoryError: the process may not have the memory that it takes.
        UnconfirmedFrames: the packets do not list the frames, and `in_order` is False.
    """

    def __init__(self, path: str, in_order: bool = False) -> None:
        self._path = path
        self._status = os.stat(path)
        self._in_order = in_order
        with self._open() as (container, stream):
            names, base = _names(container), stream.time_base
            if GUESSES_TIMES & names:
                raise ValueError(NO_TIMES)
            if "gif" in names and gif_is_cut(path):
                raise ValueError("cut short: it ends within a picture")
            self._stored_aspect = self.pixel_aspect = float(stream.sample_aspect_ratio or 1)
            declared = _declared_end(container, stream) if DECLARES_LENGTH & names else None
            start = _start(container, stream)
        with self._open() as (container, stream):
            counts = bool(COUNTS_TIMES & names)
            if in_order:
                decoded = at_most(MAX_FRAMES, _decode(container, stream), "frames")
                frames = [(frame.pts, frame.duration or 0) for frame in decoded]
            else:
                packets = at_most(MAX_FRAMES, container.demux(stream), "frames")
                listed = list_packets(packets, stream, counts)
        if in_order:
            with self._open() as (container, stream):
                listed = list_frames(frames, container.demux(stream) if counts else None, stream)
        # Where the file says that it starts later than it does, its first picture tells.
        start = min(start, int(listed.pts[0]) * base)
        first, end = int(listed.pts[0]) * base - start, listed.end * base - start
        require_time(first, end)
        # Of differences, which fit the integers: a clock may stand anywhere, and tick 2**31 times a second.
        self.times = (listed.pts - listed.pts[0]) * base.numerator / base.denominator + float(first)
        self.end = float(end)
        if declared is not None and self.end + float(start) < declared - max(CUT_S, CUT_SHARE * declared):
            self._require_whole(declared)
        self._pts, self._places = listed.pts, listed.places
        # Nothing but the start of the file is a place to start from where times are derived.
        self._keys = listed.keys if HOLDS_TIMES & names else listed.pts[:1]

    def read(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at ascending indices, as `FrameSource.read`.

        Raises:
            ValueError: the file is damaged.
            UnconfirmedFrames: a frame does not come at its listed time.
        """
        found = self._read_in_order(indices) if self._in_order else self._read_by_keys(indices)
        shown: dict[int, np.ndarray] = {}
        for index in indices:
            if index not in shown:
                shown = {index: next(found)}
            yield shown[index]

    def identity(self, indices: Sequence[int]) -> tuple[object, ...]:
        return (self._path, self._status.st_mtime_ns, self._status.st_size)

    def _read_in_order(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        wanted = set(indices)
        with self._open() as (container, stream):
            for number, frame in enumerate(_decode(container, stream)):
                if number in wanted:
                    yield self._shown(frame)
                    wanted.discard(number)
                if not wanted:
                    return
        raise ValueError("damaged: it decodes to fewer frames the second time it is read")

    def _read_by_keys(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The distinct frames, each run of them decoded from the last key frame at or before it."""
        distinct = [int(self._pts[index]) for index in sorted(set(indices))]
        starts = np.searchsorted(self._keys, distinct, side="right") - 1
        if starts[0] < 0:
            raise UnconfirmedFrames("frames before the first key frame")
        with self._open() as (container, stream):
            decoder = _decoder(stream)
            for start in np.unique(starts):
                run = [pts for pts, its in zip(distinct, starts, strict=True) if its == start]
                if start > 0 or run[0] != distinct[0]:
                    container.seek(int(self._keys[start]), stream=stream)
                    decoder.flush_buffers()
                yield from self._read_run(container.demux(stream), decoder, run)

    def _read_run(self, packets: Iterator[Any], decoder: Any, run: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames at the times `run`, ticks, out of packets that start before the first of them."""
        left, asked = deque(run), frozenset(run)
        skips = decoder.name in SKIPS_UNREFERENCED
        for packet in packets:
            if packet.size and not packet.is_discard and self._places.get(packet.pts) != packet.pos:
                raise UnconfirmedFrames(f"the packet at byte {packet.pos} has another time after a seek")
            if skips:
                decoder.skip_frame = "DEFAULT" if packet.size == 0 or packet.pts in asked else "NONREF"
            try:
                frames = decoder.decode(packet if packet.size else None)
            except NO_MEMORY:
                raise
            except av.FFmpegError as error:
                raise UnconfirmedFrames(f"the packet at {packet.pts} cannot be decoded") from error
            for frame in frames:
                if frame.pts not in self._places or frame.pts > left[0]:
                    raise UnconfirmedFrames(f"a frame at {frame.pts}, expected {left[0]}")
                if frame.pts < left[0]:
                    continue
                if frame.is_corrupt:
                    raise UnconfirmedFrames(f"the frame at {frame.pts} lacks what it refers to")
                yield self._shown(frame)
                left.popleft()
                if not left:
                    return
        raise UnconfirmedFrames(f"no frame at {left[0]}")

    def _shown(self, frame: Any) -> np.ndarray:
        """A decoded frame as a player shows it. A quarter turn lays its pixels on their side, which is noted."""
        pixels, is_turned = _upright(_on_white(frame), frame)
        self.pixel_aspect = 1 / self._stored_aspect if is_turned else self._stored_aspect
        return pixels

    def _require_whole(self, declared: float) -> None:
        """Raises `ValueError` for a file that is cut short. One whose sound goes on after its picture is whole."""
        with self._open() as (container, _):
            times = ((packet.pts or 0) * packet.time_base for packet in container.demux() if packet.size)
            last = float(max(times, default=Fraction(0)))
        if last < declared - max(CUT_S, CUT_SHARE * declared):
            raise ValueError(f"cut short: it ends at {last:.2f} s, its header says {declared:.2f} s")

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        # FFmpeg takes `a%d.jpg` to name a series of pictures, whatever it holds: such a name is kept from it.
        is_pattern = "%" in os.path.basename(self._path)
        descriptor = os.open(self._path, os.O_RDONLY) if is_pattern else None
        path = os.path.abspath(self._path) if descriptor is None else f"/dev/fd/{descriptor}"
        try:
            container = av.open(f"file:{path}", options=OPTIONS)
        except NO_MEMORY as error:
            raise MemoryError from error
        except av.FFmpegError as error:
            raise ValueError(
                "cannot be opened as a video: damaged, cut short or of an unknown kind"
            ) from error
        finally:
            if descriptor is not None:  # FFmpeg has opened the file anew
                os.close(descriptor)
        try:
            with container:
                if PLAYLISTS & _names(container):
                    raise ValueError(f"a playlist ({container.format.name}), not a video")
                yield container, _picture_stream(container)
        except NO_MEMORY as error:
            raise MemoryError from error
        except av.error.ArgumentError as error:
            raise TooLarge(f"damaged, or a picture of more than {MAX_VIDEO_PIXELS:,} pixels") from error
        except av.FFmpegError as error:
            raise ValueError(f"damaged or cut short: {error.strerror}") from error


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Every frame in order. What comes before the first picture that can be decoded is passed over.

    A recording may begin in the middle of a group of pictures, which cannot be decoded and is no damage.
    """
    begun, decoder = False, _decoder(stream)
    for packet in container.demux(stream):
        try:
            frames = decoder.decode(packet if packet.size else None)
        except av.FFmpegError as error:
            if begun or isinstance(error, (*NO_MEMORY, av.error.ArgumentError)):
                raise
            continue
        for frame in frames:
            begun = True
            yield frame


def _picture_stream(container: Any) -> Any:
    """The stream that a player shows.

    Raises:
        ValueError: there is none, it is too large, or nothing here decodes it.
    """
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not pictures:
        raise ValueError("holds no moving picture" + (", only sound" if container.streams.audio else ""))
    # A cover that is not marked as one is a stream of one frame.
    moving = [s for s in pictures if s.frames != 1] or pictures
    best = container.streams.best("video")
    stream = best if best in moving else moving[0]
    if stream.codec_context is None:
        raise ValueError("no decoder for its picture: convert it (ffmpeg -i FILE -c:v libx264 FILE.mp4)")
    require_pixels(stream.codec_context.width, stream.codec_context.height, MAX_VIDEO_PIXELS)
    return stream


def _decoder(stream: Any) -> Any:
    """What decodes the pictures of a stream, in the order of the packets."""
    decoder = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and decoder.name in DECODES_ALPHA:
        # WebM keeps transparency beside the picture, which FFmpeg's own decoders pass over.
        decoder = av.CodecContext.create(DECODES_ALPHA[decoder.name], "r")
    decoder.options = DECODER_OPTIONS
    decoder.thread_count = 1
    return decoder


def _names(container: Any) -> frozenset[str]:
    """What FFmpeg calls the container: `mov,mp4,m4a,3gp,3g2,mj2` has six names."""
    return frozenset(container.format.name.split(","))


def _start(container: Any, stream: Any) -> Fraction:
    """Second 0 of the file's clock on its own time line: when the first of picture and sound starts."""
    streams = [stream, *container.streams.audio]
    starts = {s.index: s.start_time * s.time_base for s in streams if s.start_time is not None}
    if len(starts) < len(streams):  # ASF's header does not say so, and holds times of decoding
        for packet in container.demux(*streams):
            if packet.dts is not None:
                starts.setdefault(packet.stream_index, packet.dts * packet.time_base)
            if len(starts) == len(streams):
                break
    return min(starts.values(), default=Fraction(0))


def _declared_end(container: Any, stream: Any) -> float | None:
    """When the header says that the file ends, seconds on the file's time line; None where it does not say so."""
    if "avi" in _names(container) and stream.average_rate:
        # FFmpeg estimates the duration of a file that was cut; the number of frames is the header's.
        return float(stream.frames / stream.average_rate)
    return None if container.duration is None else container.duration / av.time_base


def _on_white(frame: Any) -> np.ndarray:
    """The pixels of a decoded frame, what is transparent white; uint8 `[h, w, 3]`, RGB."""
    if frame.format.name == "pal8" or any(part.is_alpha for part in frame.format.components):
        rgba = frame.to_ndarray(format="rgba", threads=1)
        alpha = rgba[..., 3:].astype(np.uint16)
        mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
        return ((mixed + 127) // 255).astype(np.uint8)
    return frame.to_ndarray(format="rgb24", threads=1)


def _upright(pixels: np.ndarray, frame: Any) -> tuple[np.ndarray, bool]:
    """Turned and mirrored as the display matrix says (ISO/IEC 14496-12, 6.2.2), to the nearest quarter turn.

    Returns:
        The pixels, and whether columns became rows.
    """
    try:
        matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    except ValueError:
        # PyAV does not know every kind of side data of its FFmpeg (EXIF is one), and then gives the turn alone.
        turns = round(frame.rotation / 90)
        return np.ascontiguousarray(np.rot90(pixels, turns)), turns % 2 == 1
    if matrix is None:
        return pixels, False
    # A point at column p and row q goes to column a p + c q and row b p + d q.
    a, b, _, c, d = np.frombuffer(bytes(matrix), dtype=np.int32)[:5].tolist()
    if is_turned := abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]), is_turned
