"""Images are shown as a viewer shows them, animations as a player plays them, and a refusal says what is wrong."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from data.animated_png import _chunk
from data.image_frames import ImageFrames, list_images, read_image

SIZE = (60, 40)
RAMP = np.linspace(0, 65535, 60)[None].repeat(40, 0).round().astype(np.uint16)
# A grey that every way of storing colours can hold.
GREY = Image.new("RGB", SIZE, (204, 204, 204))
# How an animation is written so that its colours stay.
EXACT: dict[str, dict[str, Any]] = {
    "webp": {"lossless": True},
    "avif": {"quality": 100, "subsampling": "4:4:4"},
    "png": {},
}


def half_transparent(colour: str = "black") -> Image.Image:
    """Clear on its left half, a colour on its right."""
    image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    image.paste(colour, (30, 0, *SIZE))
    return image


def moving(count: int = 5, alpha: int = 128) -> list[Image.Image]:
    """Blocks that move over nothing, every other one half transparent."""
    images = []
    for k in range(count):
        image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
        image.paste(
            (50 * k, 250 - 50 * k, 90, 255 if k % 2 else alpha), (8 * k, 5 * k, 8 * k + 15, 5 * k + 12)
        )
        images.append(image)
    return images


def flattened(image: Image.Image) -> np.ndarray:
    """On white, int `[h, w, 3]`."""
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")).astype(int)


def png(header: bytes, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of SIZE; `header` is its bit depth and colour type."""
    body = _chunk(b"IHDR", struct.pack(">II", *SIZE) + header + b"\0\0\0")
    body += b"".join(_chunk(*chunk) for chunk in chunks) + _chunk(b"IDAT", zlib.compress(rows * SIZE[1]))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def tiff_16_bits(photometric: int, byte_order: str = "<") -> bytes:
    """The ramp as a TIFF whose tags are written by hand."""
    tags = {256: 60, 257: 40, 258: 16, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 40, 279: RAMP.nbytes}
    head = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(byte_order + "I", 8 + RAMP.nbytes)
    entries = b"".join(
        struct.pack(byte_order + "HHI", tag, 4, 1) + struct.pack(byte_order + "I", value)
        for tag, value in tags.items()
    )
    pixels = RAMP.astype(byte_order + "u2").tobytes()
    return head + pixels + struct.pack(byte_order + "H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [(m, "png") for m in ("1", "L", "LA", "P", "RGB", "RGBA")]
    + [(m, "tif") for m in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")]
    + [(m, "jpg") for m in ("L", "RGB", "CMYK", "YCbCr")]  # Pillow writes CMYK as Adobe does, inverted
    + [(m, "webp") for m in ("RGB", "RGBA")]
    + [(m, "bmp") for m in ("1", "L", "P", "RGB")]
    + [("RGB", "avif"), ("P", "gif")],
)
def test_colours_are_right_however_they_are_stored(tmp_path: Path, mode: str, suffix: str) -> None:
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    image = (
        ImageCms.profileToProfile(GREY, *profiles, outputMode="LAB")
        if mode == "LAB"
        else GREY.convert(mode, dither=0)
    )
    assert image is not None
    image.save(tmp_path / f"a.{suffix}")
    shown = read_image(tmp_path / f"a.{suffix}")
    assert shown.shape == (40, 60, 3) and shown.dtype == np.uint8
    assert abs(shown.astype(int) - (255 if mode == "1" else 204)).max() <= 2


TRANSPARENT: dict[str, Callable[[Path], object]] = {
    "rgba.png": lambda path: half_transparent().save(path),
    "la.png": lambda path: half_transparent().convert("LA").save(path),
    "rgba.webp": lambda path: half_transparent().save(path, lossless=True),
    "rgba.tif": lambda path: half_transparent().save(path),
    "pa.tif": lambda path: half_transparent().convert("PA").save(path),
    "rgba.avif": lambda path: half_transparent().save(path),
    "palette.png": lambda path: half_transparent().quantize(8).save(path),
    "palette.gif": lambda path: half_transparent().save(path),
    "rgb-key.png": lambda path: half_transparent("red").convert("RGB").save(path, transparency=(0, 0, 0)),
    "grey-key.png": lambda path: half_transparent("red").convert("L").save(path, transparency=0),
    # White is clear: the key is 3 of 3, 15 of 15, 65535 of 65535.
    "2-bit-key.png": lambda path: path.write_bytes(
        png(b"\x02\0", b"\0" + b"\xff" * 7 + b"\xf0" + b"\0" * 7, (b"tRNS", b"\0\x03"))
    ),
    "4-bit-key.png": lambda path: path.write_bytes(
        png(b"\x04\0", b"\0" + b"\x33" * 15 + b"\0" * 15, (b"tRNS", b"\0\x03"))
    ),
    "16-bit-key.png": lambda path: path.write_bytes(
        png(b"\x10\0", b"\0" + b"\x12\x34" * 30 + b"\0\0" * 30, (b"tRNS", b"\x12\x34"))
    ),
    "rgb16-key.png": lambda path: path.write_bytes(
        png(b"\x10\x02", b"\0" + b"\x12\x34" * 90 + b"\0\0" * 90, (b"tRNS", b"\x12\x34" * 3))
    ),
}


@pytest.mark.parametrize("name", TRANSPARENT)
def test_what_is_transparent_is_on_white(tmp_path: Path, name: str) -> None:
    TRANSPARENT[name](tmp_path / name)
    shown = read_image(tmp_path / name)
    assert shown[:, :28].min() >= 250 and shown[:, 32:, 1].max() <= 80


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", SIZE, (0, 0, 0, 128)).save(tmp_path / "a.png")
    # What is stored premultiplied: TIFF's ExtraSamples 1.
    Image.new("RGBA", SIZE, (0, 0, 0, 128)).save(tmp_path / "a.tif", tiffinfo={338: 1})
    Image.new("LA", SIZE, (0, 128)).save(tmp_path / "la.tif", tiffinfo={338: 1})
    for name in ("a.png", "a.tif", "la.tif"):
        assert abs(read_image(tmp_path / name).astype(int) - 127).max() <= 1


DEEP: dict[str, Callable[[Path], object]] = {
    "16.png": lambda path: Image.fromarray(RAMP).save(path),
    "16.tif": lambda path: Image.fromarray(RAMP).save(path),
    "16-big-endian.tif": lambda path: path.write_bytes(tiff_16_bits(1, ">")),
    "16-white-is-0.tif": lambda path: path.write_bytes(tiff_16_bits(0)),
    "32.tif": lambda path: Image.fromarray(RAMP.astype(np.int32)).save(path),
    "float.tif": lambda path: Image.fromarray((RAMP / 65535).astype(np.float32)).save(path),
    "rgb16.png": lambda path: path.write_bytes(
        png(b"\x10\x02", b"\0" + RAMP[0].astype(">u2").repeat(3).tobytes())
    ),
    "grey-alpha16.png": lambda path: path.write_bytes(
        png(b"\x10\x04", b"\0" + np.stack([RAMP[0], np.full(60, 65535)], 1).astype(">u2").tobytes())
    ),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_pixels_are_scaled(tmp_path: Path, name: str) -> None:
    DEEP[name](tmp_path / name)
    shown = read_image(tmp_path / name).astype(int)
    ramp = RAMP[0] / 257
    assert abs(shown[0, :, 0] - (255 - ramp if "white" in name else ramp)).max() <= 1


def test_values_of_no_known_brightness_are_refused(tmp_path: Path) -> None:
    for values in (RAMP * 100.0, RAMP / 65535 - 0.1, np.full((4, 4), np.nan)):
        Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match="nothing says which of them is white"):
            read_image(tmp_path / "a.tif")
    for values in (RAMP.astype(np.int32) * 100, RAMP.astype(np.int32) - 100, RAMP.astype(np.int32) // 257):
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match="32-bit values from .* save it with 8 or 16 bits"):
            read_image(tmp_path / "a.tif")
    Image.fromarray(np.zeros((4, 4), np.int32)).save(tmp_path / "a.tif")
    assert not read_image(tmp_path / "a.tif").any(), "black in any depth"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "suffix", ["jpg", "png", "webp", "tif", "avif", "grey.tif", "16.png", "16.tif", "alpha.png", "alpha.tif"]
)
def test_photographs_stand_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((40, 60), np.uint8)
    upright[:20, :30], upright[:20, 30:], upright[20:, :30] = 250, 160, 80
    # How the sensor saw it: what a viewer undoes.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(
        np.ascontiguousarray(stored.astype(np.uint16) * 257 if "16" in suffix else stored)
    )
    if "grey" not in suffix and "16" not in suffix:
        image = image.convert("RGBA" if "alpha" in suffix else "RGB")
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    shown = read_image(tmp_path / f"a.{suffix}")
    assert shown.shape == (40, 60, 3)
    for y, x in ((5, 5), (5, 50), (30, 5), (30, 50)):
        assert abs(int(shown[y, x, 0]) - int(upright[y, x])) < 30


def test_pages_are_refused_and_what_goes_with_a_page_is_not(tmp_path: Path) -> None:
    path, page = tmp_path / "a.tif", Image.new("RGB", SIZE, "red")
    page.save(path, save_all=True, append_images=[page, page])
    with pytest.raises(ValueError, match="a.tif: is a TIFF of 3 pages: save each page as a file"):
        read_image(path)
    small = page.resize((6, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    page.save(path, save_all=True, append_images=[small])
    assert read_image(path).shape == (40, 60, 3)


def test_a_jpeg_that_holds_a_second_picture_is_one_picture(tmp_path: Path) -> None:
    second = Image.new("RGB", (6, 4), "blue")
    Image.new("RGB", SIZE, "red").save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second]
    )
    assert read_image(tmp_path / "a.jpg")[0, 0, 0] > 250
    assert len(ImageFrames(str(tmp_path / "a.jpg"), None, 2.0, 2).times) == 2


@pytest.mark.parametrize("disposal", [0, 1, 2])
@pytest.mark.parametrize("blend", [0, 1])
@pytest.mark.parametrize("default_image", [False, True])
def test_an_animated_png_is_what_ffmpeg_shows(
    tmp_path: Path, disposal: int, blend: int, default_image: bool
) -> None:
    path, images = tmp_path / "a.png", moving()
    delays = [100, 200, 50, 400, 300]
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=delays,
        disposal=disposal,
        blend=blend,
        default_image=default_image,
    )
    with av.open(str(path), format="apng") as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
    source = ImageFrames(str(path), None, 2.0, 2)
    assert source.times == pytest.approx([float(frame.pts * frame.time_base) for frame in frames])
    shown = list(source.read(range(len(frames))))
    for one, frame in zip(shown, frames, strict=True):
        assert abs(one - flattened(Image.fromarray(frame.to_ndarray(format="rgba")))).max() <= 1


@pytest.mark.parametrize("suffix", ["webp", "png", "avif"])
def test_an_animation_has_its_own_times_and_pictures(tmp_path: Path, suffix: str) -> None:
    path, images = tmp_path / f"a.{suffix}", moving()
    images[0].save(
        path, save_all=True, append_images=images[1:], duration=[100, 200, 50, 400, 300], **EXACT[suffix]
    )
    source = ImageFrames(str(path), 25.0, 2.0, 2)
    assert source.times.dtype == np.float64
    assert source.times.tolist() == [0.0, 0.1, 0.3, 0.35, 0.75] and source.end == 1.05
    for index, shown in zip((1, 1, 4), source.read([1, 1, 4]), strict=True):
        assert abs(shown - flattened(images[index])).max() <= (30 if suffix == "avif" else 1)
    assert source.identity([1]) != source.identity([2])


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_a_frame_without_a_delay_is_shown_for_a_tenth_of_a_second(tmp_path: Path, suffix: str) -> None:
    images = moving(4)
    images[0].save(
        tmp_path / f"a.{suffix}", save_all=True, append_images=images[1:], duration=[0, 10, 500, 0]
    )
    source = ImageFrames(str(tmp_path / f"a.{suffix}"), None, 2.0, 2)
    assert [*source.times, source.end] == [0.0, 0.1, 0.11, 0.61, 0.71]


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_an_animation_stands_upright(tmp_path: Path, suffix: str) -> None:
    exif, images = Image.Exif(), moving()
    exif[274] = 6
    images[0].save(
        tmp_path / f"a.{suffix}", save_all=True, append_images=images[1:], exif=exif, **EXACT[suffix]
    )
    shown = list(ImageFrames(str(tmp_path / f"a.{suffix}"), None, 2.0, 2).read(range(5)))
    for frame, image in zip(shown, images, strict=True):
        assert abs(frame - np.rot90(flattened(image), 3)).max() <= 1


def test_a_picture_for_viewers_without_animation_is_no_frame(tmp_path: Path) -> None:
    GREY.save(tmp_path / "a.png", save_all=True, append_images=[GREY], default_image=True)
    assert ImageFrames(str(tmp_path / "a.png"), None, 2.0, 2).times.tolist() == [0.0, 0.5]


@pytest.mark.parametrize("suffix", ["webp", "png", "gif", "avif"])
def test_an_animation_of_one_frame_stands_still(tmp_path: Path, suffix: str) -> None:
    half_transparent().save(tmp_path / f"a.{suffix}", save_all=True)
    source = ImageFrames(str(tmp_path / f"a.{suffix}"), None, 2.0, 2)
    assert source.times.tolist() == [0.0, 0.5] and source.end == 1.0
    assert all((frame[:, :28] >= 250).all() for frame in source.read([0, 1]))


@pytest.mark.parametrize("suffix", ["webp", "png", "gif", "avif"])
def test_an_animation_among_frames_is_refused(tmp_path: Path, suffix: str) -> None:
    images = moving()
    images[0].save(tmp_path / "1.png")
    images[1].save(tmp_path / f"2.{suffix}", save_all=True, append_images=images[2:])
    source = ImageFrames(str(tmp_path), 4.0, 2.0, 2)
    with pytest.raises(
        ValueError, match=rf"^2.{suffix}: is an animation of 4 frames, where one picture is wanted"
    ):
        list(source.read([0, 1]))


def test_an_animated_gif_is_left_to_the_reader_of_videos(tmp_path: Path) -> None:
    images = moving()
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    with pytest.raises(ValueError, match="a.gif: is an animated GIF, which is read as a video"):
        ImageFrames(str(tmp_path / "a.gif"), None, 2.0, 2)


def test_a_folder_has_the_times_of_its_frame_rate(tmp_path: Path) -> None:
    for number in range(12):
        Image.new("L", SIZE, 20 * number).save(tmp_path / f"{number}.png")
    source = ImageFrames(str(tmp_path), 4.0, 2.0, 2)
    assert source.times.tolist() == [number / 4 for number in range(12)] and source.end == 3.0
    assert [int(frame[0, 0, 0]) for frame in source.read([0, 2, 2, 11])] == [0, 40, 40, 220]
    before = source.identity([0, 2])
    assert before != ImageFrames(str(tmp_path), 4.001, 2.0, 2).identity([0, 2])
    os.utime(tmp_path / "2.png", (0, 0))
    assert before != source.identity([0, 2])


def test_a_folder_without_images_or_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the folder holds no images"):
        ImageFrames(str(tmp_path), 4.0, 2.0, 2)
    GREY.save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="needs frame_rate"):
        ImageFrames(str(tmp_path), None, 2.0, 2)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"the frame rate is {rate}"):
            ImageFrames(str(tmp_path), rate, 2.0, 2)


def test_only_frames_are_listed(tmp_path: Path) -> None:
    for name in ("1.png", "2.jpg", "10.jpg", "02.jpg", "._1.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "3.png").mkdir()
    # A frame that is lost is missed when it is read: without it, all later ones would be shown too early.
    (tmp_path / "4.png").symlink_to("gone.png")
    assert [path.name for path in list_images(tmp_path)] == ["1.png", "02.jpg", "2.jpg", "4.png", "10.jpg"]
    with pytest.raises(ValueError, match="4.png: is a link to gone.png"):
        read_image(tmp_path / "4.png")


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_refusals_say_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError) as refusal:
            read_image(tmp_path / name)
        return str(refusal.value)

    def saved(format_: str) -> bytes:
        noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file := io.BytesIO(), format_)
        return file.getvalue()

    for format_ in ("JPEG", "PNG", "BMP", "WEBP", "AVIF", "GIF", "TIFF"):
        assert reason("cut.jpg", saved(format_)[:-500]).startswith("cut.jpg: damaged")
    assert (
        reason("cut.png", saved("PNG")[:8] + b"\xff" * 99) == "cut.png: damaged: a PNG without a valid header"
    )
    unknown = saved("BMP")[:30] + b"\x63" + saved("BMP")[31:]
    assert reason("odd.bmp", unknown) == "odd.bmp: cannot be read: Unsupported BMP compression (99)"
    assert reason("odd.tif", saved("TIFF")[:50]) == "odd.tif: damaged, or an unusual TIFF"
    assert reason("a.jpg", b"<html>").startswith("a.jpg: is a web page")
    assert reason("b.jpg", bytes(range(200))) == (
        "b.jpg: is no image of a kind that is read: JPEG, PNG, BMP, WebP, TIFF, AVIF or GIF"
    )
    with pytest.raises(ValueError, match="none.jpg: No such file"):
        read_image(tmp_path / "none.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match="pipe.jpg: is a pipe"):
        read_image(tmp_path / "pipe.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert reason("big.png", saved("PNG")) == (
        "big.png: too large: Image size (2400 pixels) exceeds limit of 2000 pixels"
    )


@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_a_damaged_animated_png_is_not_shown_in_part(tmp_path: Path, damage: str) -> None:
    path, images = tmp_path / "a.png", moving()
    images[0].save(path, save_all=True, append_images=images[1:])
    content = path.read_bytes()
    last = content.rindex(b"fcTL") - 4
    path.write_bytes(content[:-40] if damage == "cut" else content[:last] + _chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="a.png: damaged: "):
        ImageFrames(str(path), None, 2.0, 2)
