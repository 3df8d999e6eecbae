"""A name is the name of a file and nothing else, whatever FFmpeg, a shell or a terminal would make of it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from data.sampling import SamplingContract
from data.video import ClipError, decode_clip
from tests.videos import write_video

CONTRACT = SamplingContract()
NAMES = (
    *(
        "http:x.mp4",
        "concat:a.mp4|b.mp4",
        "pipe:0",
        "subfile,,start,0,end,9,,:a.mp4",
        "data:video,AAAA",
        "file:a.mp4",
    ),
    *(
        "-i",
        "%03d.mp4",
        "*.mp4",
        "a b'\"$(id).mp4",
        "a\n.mp4",
        "\x1b[31m.mp4",
        "~",
        "é\u202e.mp4",
        "\udcff.mp4",
    ),
)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_as_it_stands(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = decode_clip(str(write_video(tmp_path / "plain.mp4")), CONTRACT).frames
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClipError, match="No such file"):
        decode_clip(name, CONTRACT)
    os.rename("plain.mp4", name)
    assert np.array_equal(decode_clip(name, CONTRACT).frames, expected)


PLAYLISTS = {
    "a.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nplain.mp4\n#EXT-X-ENDLIST\n",
    "spaces.m3u8": b"\n \n#EXTM3U\n#EXTINF:3,\nplain.mp4\n",
    "a.ffconcat": b"ffconcat version 1.0\nfile plain.mp4\n",
    "binary.ffconcat": b"ffconcat version 1.0\nfile plain.mp4\n#\0\1\2\n",
    "binary.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nplain.mp4\n#\0\1\n",
    "a.mpd": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    "a.sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "a.mp4": b"#EXTM3U\n#EXTINF:3,\nhttp://127.0.0.1:9/x.ts\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_refused(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "plain.mp4")
    (tmp_path / name).write_bytes(PLAYLISTS[name])
    with pytest.raises(ClipError):
        decode_clip(str(tmp_path / name), CONTRACT)


@pytest.mark.timeout(20)
def test_what_never_ends_is_no_clip(tmp_path: Path) -> None:
    """Neither as the video nor as one of its images."""
    (tmp_path / "frames").mkdir()
    for name in ("a.mp4", "frames/1.png", "frames/2.png"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "1.png").symlink_to("1.png")
    for name, reason in {
        "a.mp4": "is a pipe",
        "frames": "1.png: is a pipe",
        "zero.mp4": "is a device",
        "loop.mp4": "symbolic links",
        "loops": "symbolic links",
    }.items():
        with pytest.raises(ClipError, match=reason):
            decode_clip(str(tmp_path / name), CONTRACT, frame_rate=4)
