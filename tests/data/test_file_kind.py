"""What a file is, told from its content: the reason for a refusal is true, and nothing that can be read is refused."""

from __future__ import annotations

import gzip
import json
import os
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data.file_kind import GLANCE, foreign_content, is_image, picture_kind
from tests.videos import write_video

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
CONTENTS = {
    "web page": [
        b"<!DOCTYPE html><html><title>403 Forbidden</title>",
        b"\xef\xbb\xbf \r\n<!doctype HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>",
        b"<!-- saved\nfrom a cache --> <HTML lang=en>",
        b"<!--" + b" no end " * GLANCE,
        b'<?xml version="1.0"?>\n<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml">',
        "\ufeff<html>".encode("utf-16-le"),
        "<html><body>页面不存在".encode("gbk"),
        b"\xef\xbb\xbf<html><body>\xd2\xb3\xc3\xe6",
    ],
    "JSON text": [b'{"error": "not found"}', b'\n[{"code": 404}]', b"{}"],
    "XML text": [b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', b"<Error/>"],
    "git lfs pull": [LFS],
    "git annex get": [b"/annex/objects/SHA256E-s1024--abc.mp4\n"],
    "text file": [
        b"Not Found",
        "Не найдено".encode(),
        "café, s'il vous plaît".encode("latin-1"),
        b"\xef\xbb\xbf",
    ],
    "playlist": [b"#EXTM3U\n#EXT-X-VERSION:3\n", b"<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash'>"],
    "a script": [b"#!/bin/sh\ncurl -O x\n"],
    "SVG drawing": [b'<?xml version="1.0"?><svg width="1">', b"<!DOCTYPE svg PUBLIC 'x'><svg/>"],
    "PDF document": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"],
    "Parquet table": [b"PAR1\x15\x04\x15\x10"],
    "Arrow table": [b"ARROW1\0\0\xff\xff\xff\xff"],
    "gzip archive": [gzip.compress(b"x")],
    "rar archive": [b"Rar!\x1a\x07\x01\0"],
    "7z archive": [b"7z\xbc\xaf\x27\x1c\0\4"],
    "zstd archive": [b"\x28\xb5\x2f\xfd\x04\x58"],
    "nothing but zeros": [bytes(1), bytes(3 * GLANCE + 1)],
    "empty": [b""],
    "HEIC picture": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"],
    "macOS resource file": [b"\0\x05\x16\x07\0\x02\0\0Mac OS X"],
}


@pytest.mark.parametrize(("kind", "content"), [(k, c) for k, contents in CONTENTS.items() for c in contents])
@pytest.mark.parametrize("name", ["clip.mp4", "frame.jpg"])
def test_what_is_neither_video_nor_picture_is_called_by_its_name(
    tmp_path: Path, kind: str, content: bytes, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    reason = foreign_content(tmp_path / name)
    assert reason is not None and kind in reason and ": " in reason, "what it is, and what to do about it"
    assert "damaged" not in reason and not is_image(tmp_path / name)


def test_archives_of_all_kinds_are_archives(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 600)
    with zipfile.ZipFile(tmp_path / "zip.mp4", "w") as packed:
        packed.write(tmp_path / "x", "x")
    with tarfile.open(tmp_path / "tar.mp4", "w") as tar:
        tar.add(tmp_path / "x", "x")
    for kind in ("zip", "tar"):
        assert foreign_content(tmp_path / f"{kind}.mp4") == f"is a {kind} archive: unpack it first"


def test_names_tell_leftovers_and_resource_files(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4").read_bytes()
    for name, reason in {
        "a.mp4.part": "leftover of an unfinished download",
        "a.mp4.CRDOWNLOAD": "leftover of an unfinished download",
        "._a.mp4": "is a macOS resource file, not the video: use a.mp4",
    }.items():
        (tmp_path / name).write_bytes(video)
        assert reason in (foreign_content(tmp_path / name) or "")


def test_only_files_and_folders_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.mp4"))
    for path, kind in (
        (tmp_path / "pipe.mp4", "a pipe"),
        (tmp_path / "s.mp4", "a socket"),
        ("/dev/null", "a device"),
    ):
        assert foreign_content(path) == f"is {kind}, which is never opened: name a file"
        assert not is_image(path)
    assert foreign_content(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        foreign_content(tmp_path / "none.mp4")


def test_links_to_nothing_say_so(tmp_path: Path) -> None:
    (tmp_path / "annex.mp4").symlink_to(".git/annex/objects/aa/bb/SHA256E-s1--c.mp4")
    (tmp_path / "moved.mp4").symlink_to("gone.mp4")
    assert "git annex get" in (foreign_content(tmp_path / "annex.mp4") or "")
    assert (
        foreign_content(tmp_path / "moved.mp4") == "is a link to gone.mp4, which is not there: link it again"
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm", ".ts", ".mpg", ".flv", ".h264"])
def test_videos_pass(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".webm":  # the same container by another name
        write_video(tmp_path / "a.mkv").rename(path)
    else:
        write_video(path)
    assert foreign_content(path) is None and not is_image(path)


def test_heads_that_look_like_something_else_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for content in (
        b"YUV4MPEG2 W2 H2 F25:1\nFRAME\n~~~~~~",
        bytes(GLANCE) + b"moov" + bytes(GLANCE - 4),  # zeros at the start only
        write_video(tmp_path / "b.mp4").read_bytes() + b"<html>" + bytes(2 * GLANCE),
        bytes(range(256)) * 16,
        b"\0\0\0\x18ftypisom\0\0\0\0mp42heic",  # what else may read it does not say what it is
    ):
        path.write_bytes(content)
        assert foreign_content(path) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WebP", "TIFF", "AVIF", "GIF"])
def test_pictures_are_told_by_content_and_not_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.mp4"
    Image.new("RGB", (40, 40), "red").save(path, format=kind)
    assert foreign_content(path) is None
    assert picture_kind(path) == kind
    assert is_image(path) == (kind != "GIF"), "a GIF is read as a video"


def test_a_stream_of_jpegs_is_a_video(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.mjpeg", format="JPEG")
    assert not is_image(tmp_path / "a.mjpeg")


def test_a_servers_answer_is_shown_in_one_printable_line(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(json.dumps({"error": "quota\nexceeded"}, indent=2).encode())
    assert 'which begins "{ "error": "quota\\nexceeded" }"' in (foreign_content(path) or "")
    path.write_bytes(b"\x1b[31mred")
    assert foreign_content(path) is None, "no text: it would colour the report"


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_no_content_makes_it_raise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.mp4"
    for head in (content, b"<!--" + content, b"\xff\xfe" + content, b"\0\0\0\x40ftypmif1" + content):
        path.write_bytes(head)
        reason = foreign_content(path)
        assert reason is None or (reason.isprintable() and not is_image(path))
