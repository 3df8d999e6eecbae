"""Video files that are odd in other ways than their times: turned, transparent, cut, of unusual names."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data.sampling import SamplingContract
from data.video import ClipError, decode_clip
from tests.videos import cut_short, write_sound, write_video

CONTRACT = SamplingContract(fps=1.0, min_frames=4, max_frames=8)
SIZE = (64, 96)


def corner(height: int = SIZE[0], width: int = SIZE[1]) -> np.ndarray:
    """Black, its left upper quarter white; uint8 `[h, w, 3]`."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    return picture


def write(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    picture: np.ndarray | None = None,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    matrix: list[int] | None = None,
) -> Path:
    """20 equal frames, 10 per second."""
    picture = corner() if picture is None else picture
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pix_fmt
        stream.options = options or {}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix:
            stream.set_display_matrix(matrix)
        layout = "rgba" if picture.shape[2] == 4 else "rgb24"
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=layout)))
        container.mux(stream.encode())
    return path


def white_corner(frame: np.ndarray) -> str:
    """Which quarter of a frame is white."""
    height, width = frame.shape[0] // 4, frame.shape[1] // 4
    quarters = {
        "left upper": frame[height, width],
        "right upper": frame[height, -width],
        "left lower": frame[-height, width],
        "right lower": frame[-height, -width],
    }
    (found,) = [name for name, pixel in quarters.items() if pixel.min() > 200]
    return found


ONE, WHOLE = 1 << 16, 1 << 30
TURNS = {
    "as it is": ([ONE, 0, 0, 0, ONE, 0, 0, 0, WHOLE], "left upper"),
    "clockwise": ([0, ONE, 0, -ONE, 0, 0, 0, 0, WHOLE], "right upper"),
    "half": ([-ONE, 0, 0, 0, -ONE, 0, 0, 0, WHOLE], "right lower"),
    "anticlockwise": ([0, -ONE, 0, ONE, 0, 0, 0, 0, WHOLE], "left lower"),
    "mirrored": ([-ONE, 0, 0, 0, ONE, 0, 0, 0, WHOLE], "right upper"),
    "upside down": ([ONE, 0, 0, 0, -ONE, 0, 0, 0, WHOLE], "left lower"),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_upright(tmp_path: Path, turn: str) -> None:
    matrix, expected = TURNS[turn]
    frames = decode_clip(str(write(tmp_path / "x.mp4", matrix=matrix)), CONTRACT).frames
    assert white_corner(frames[0]) == expected
    is_tall = frames.shape[1] > frames.shape[2]
    assert is_tall == ("clockwise" in turn)


def test_a_camera_that_notes_its_turn_in_exif_is_upright(tmp_path: Path) -> None:
    """FFmpeg hands EXIF on with each frame, a kind of side data that PyAV cannot name."""
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = io.BytesIO()
    Image.fromarray(corner()).save(encoded, "JPEG", exif=exif, quality=95)
    path = tmp_path / "camera.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuvj420p"
        for number in range(20):
            packet = av.Packet(encoded.getvalue())
            packet.pts = packet.dts = 100 * number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 1000), stream, True
            container.mux(packet)
    frames = decode_clip(str(path), CONTRACT).frames
    assert white_corner(frames[0]) == "right upper" and frames.shape[1] > frames.shape[2]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt", "options"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p", {}),
        ("b.webm", "libvpx", "yuva420p", {"auto-alt-ref": "0"}),
        ("c.mov", "qtrle", "argb", {}),
        ("d.mov", "prores_ks", "yuva444p10le", {}),
        ("e.mov", "png", "rgba", {}),
    ],
)
def test_what_is_transparent_is_white(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    """Black everywhere, and there only in the left half."""
    picture = np.zeros((*SIZE, 4), np.uint8)
    picture[:, : SIZE[1] // 2, 3] = 255
    frame = decode_clip(str(write(tmp_path / name, codec, pix_fmt, picture, options)), CONTRACT).frames[0]
    middle = frame.shape[1] // 4
    assert frame[:, middle].max() < 40 and frame[:, -middle].min() > 215


def test_pixels_are_made_square(tmp_path: Path) -> None:
    wide = decode_clip(str(write(tmp_path / "x.mp4", aspect=Fraction(2, 1))), CONTRACT).frames
    assert wide.shape[2] / wide.shape[1] == pytest.approx(3, rel=0.3)


def test_pixels_that_are_turned_are_made_square_the_other_way(tmp_path: Path) -> None:
    """96 x 64 wide pixels are 192 x 64; turned, 64 x 192."""
    matrix, _ = TURNS["clockwise"]
    frames = decode_clip(
        str(write(tmp_path / "x.mp4", aspect=Fraction(2, 1), matrix=matrix)), CONTRACT
    ).frames
    assert frames.shape[1] / frames.shape[2] == pytest.approx(3, rel=0.3)


def test_a_cover_that_is_not_marked_as_one_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 640, 480, "yuvj420p"
        film = container.add_stream("libx264", rate=10)
        film.width, film.height, film.pix_fmt = 96, 64, "yuv420p"
        white = np.full((480, 640, 3), 255, np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(white, format="rgb24")))
        container.mux(cover.encode())
        for _ in range(60):
            container.mux(film.encode(av.VideoFrame.from_ndarray(corner(), format="rgb24")))
        container.mux(film.encode())
    clip = decode_clip(str(path), CONTRACT)
    assert clip.duration == pytest.approx(6) and white_corner(clip.frames[0]) == "left upper"


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi", ".flv"])
def test_a_file_that_is_cut_says_so_where_its_header_does(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    codec = {".webm": "libvpx-vp9", ".avi": "mpeg4"}.get(suffix, "libx264")
    whole = tmp_path / f"whole{suffix}"
    with av.open(str(whole), "w", options={"movflags": "faststart"} if suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for _ in range(100):
            noise = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    assert decode_clip(str(whole), CONTRACT).duration == pytest.approx(10)
    with pytest.raises(
        ClipError, match=r"^\S+: cut short: it ends at [345]\.\d\d s, its header says 10\.\d\d s$"
    ):
        decode_clip(str(cut_short(whole, tmp_path / f"cut{suffix}")), CONTRACT)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("x.h264", "libx264", "yuv420p"), ("x.mjpeg", "mjpeg", "yuvj420p"), ("x.obu", "libsvtav1", "yuv420p")],
)
def test_frames_without_times_are_not_guessed_at(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    with pytest.raises(ClipError, match="its frames have no times: convert it .* -r FPS -i FILE"):
        decode_clip(str(write(tmp_path / name, codec, pix_fmt)), CONTRACT)


@pytest.mark.parametrize("name", ["x.avi", "x.mov", "x.mkv"])
def test_pictures_of_motion_jpeg_have_the_times_of_their_container(tmp_path: Path, name: str) -> None:
    clip = decode_clip(str(write(tmp_path / name, "mjpeg", "yuvj420p")), CONTRACT)
    assert clip.duration == pytest.approx(2)


def test_a_gif_that_is_cut_short_is_known_by_its_blocks(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.gif", "gif", "rgb8")
    content = whole.read_bytes()
    assert decode_clip(str(whole), CONTRACT).duration == pytest.approx(2)
    # Without the byte that says that it ends, and with more behind it, as some programs leave it.
    for number, other in enumerate((content[:-1], content + b"more")):
        (tmp_path / f"{number}.gif").write_bytes(other)
        assert decode_clip(str(tmp_path / f"{number}.gif"), CONTRACT).duration == pytest.approx(2)
    for share in (0.3, 0.5, 0.9):
        with pytest.raises(ClipError, match=r"cut\d\.gif: cut short: it ends within a picture"):
            decode_clip(str(cut_short(whole, tmp_path / f"cut{10 * share:.0f}.gif", share)), CONTRACT)


def test_a_playlist_does_not_open_other_files(tmp_path: Path) -> None:
    write_video(tmp_path / "real.ts", frames=24)
    playlist = tmp_path / "list.mp4"
    playlist.write_text("#EXTM3U\n#EXTINF:3,\nreal.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ClipError, match="is a playlist"):
        decode_clip(str(playlist), CONTRACT)


@pytest.mark.parametrize(
    "name",
    ["%03d.mp4", "a b.mp4", "a#b?.mp4", "concat:a|b.mp4", "http:x.mp4", "é\n.mp4", "-i.mp4"]
    + ["a%d.jpg", "a%03d.png", "a%d.mjpeg", "a%*.jpg", "a.jpg"],
)
def test_names_are_names(tmp_path: Path, name: str) -> None:
    assert (
        len(decode_clip(str(write_video(tmp_path / "x.mp4").rename(tmp_path / name)), CONTRACT).frames) == 4
    )


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="holds no moving picture, only sound"):
        decode_clip(str(write_sound(tmp_path / "x.mp4")), CONTRACT)
