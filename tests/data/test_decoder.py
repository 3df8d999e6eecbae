"""Whatever happens to the decoding process, the caller gets the clip or a reason, in time."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from data.decoder import IsolatedDecoder
from data.sampling import SamplingContract
from data.video import ClipError, decode_clip
from tests.hanging import heal, make_hanging
from tests.videos import write_video

CONTRACT = SamplingContract()


@pytest.fixture
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(CONTRACT, timeout_s=60) as isolated:
        yield isolated


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "good.mp4", frames=64)


@pytest.fixture
def ends() -> Iterator[list[int]]:
    """File descriptors to close after a test."""
    opened: list[int] = []
    yield opened
    for end in opened:
        os.close(end)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path, environment = make_hanging(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return path


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def kill_hanging_child(
    decoder: IsolatedDecoder, hanging: Path, ends: list[int], meanwhile: Callable[[], object] = lambda: None
) -> int:
    """Wait until the child has opened the pipe for reading, then kill it. Returns its process id.

    The end of the pipe that tells so is kept open in `ends`: closing it would end the next child's waiting.
    """

    def opened() -> bool:
        if decoder.process_id is None:
            return False
        try:
            ends.append(os.open(f"{hanging}.hangs", os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno == errno.ENXIO, error
            return False
        return True

    wait_until(opened)
    child = decoder.process_id
    assert child is not None
    meanwhile()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: decoder.process_id != child)
    return child


def test_clip_is_that_of_decoding_here(decoder: IsolatedDecoder, video: Path) -> None:
    boxes = (0, 5, 9, 22)
    for box_frames in ((), boxes):
        clip, expected = decoder.decode(str(video), box_frames), decode_clip(str(video), CONTRACT, box_frames)
        assert np.array_equal(clip.frames, expected.frames)
        assert clip.frames.flags.writeable and clip.frames.shape == expected.frames.shape
        assert (clip.frame_indices, clip.sampled_fps, clip.digest) == (
            expected.frame_indices,
            expected.sampled_fps,
            expected.digest,
        )


def test_child_is_kept_between_clips_and_stays_small(decoder: IsolatedDecoder, video: Path) -> None:
    decoder.decode(str(video))
    first = decoder.process_id
    decoder.decode(str(video))
    assert decoder.process_id == first
    libraries = Path(f"/proc/{first}/maps").read_text()
    assert "libavcodec" in libraries and "libtorch" not in libraries


def test_unusable_clip_is_an_error_and_the_next_one_works(
    decoder: IsolatedDecoder, video: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(ClipError, match="zero bytes"):
        decoder.decode(str(tmp_path / "empty.mp4"))
    assert len(decoder.decode(str(video)).frames) == 16


def test_hang_ends_at_the_deadline(video: Path, hanging: Path) -> None:
    with IsolatedDecoder(CONTRACT, timeout_s=0.5) as decoder:
        with pytest.raises(ClipError, match=r"hanging.mp4: not decoded within 0.5 s"):
            decoder.decode(str(hanging))
        assert decoder.process_id is None
        decoder.timeout_s = 60
        assert len(decoder.decode(str(video)).frames) == 16


def test_stopped_child_is_replaced(decoder: IsolatedDecoder, video: Path) -> None:
    """A child that neither answers nor ends, as on a dead network file system."""
    decoder.decode(str(video))
    stopped = decoder.process_id
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    decoder.timeout_s = 10
    assert len(decoder.decode(str(video)).frames) == 16
    assert decoder.process_id != stopped and not is_alive(stopped)


def test_clip_is_tried_again_when_the_child_is_killed(
    decoder: IsolatedDecoder, video: Path, hanging: Path, ends: list[int]
) -> None:
    arguments = (decoder, hanging, ends, lambda: heal(hanging, video))
    killer = threading.Thread(target=kill_hanging_child, args=arguments)
    killer.start()
    assert len(decoder.decode(str(hanging)).frames) == 16
    killer.join()


def test_clip_that_kills_its_child_twice_is_given_up(
    decoder: IsolatedDecoder, hanging: Path, ends: list[int]
) -> None:
    killed: list[int] = []

    def kill_twice() -> None:
        killed.extend(kill_hanging_child(decoder, hanging, ends) for _ in range(2))

    killer = threading.Thread(target=kill_twice)
    killer.start()
    with pytest.raises(ClipError, match=r"the decoder process died: signal 9"):
        decoder.decode(str(hanging))
    killer.join()
    assert len(set(killed)) == 2


def test_child_killed_between_clips_costs_no_attempt(
    decoder: IsolatedDecoder, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder.decode(str(video))
    child = decoder.process_id
    assert child is not None
    os.kill(child, signal.SIGKILL)
    # A zombie whose threads still end cannot be reaped yet, and so cannot be told from a live one: wait, do not reap.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    monkeypatch.setattr("data.decoder.ATTEMPTS", 1)
    assert len(decoder.decode(str(video)).frames) == 16


def test_child_dies_with_its_parent(hanging: Path) -> None:
    """Even while it hangs, and even when the parent had no chance to say goodbye."""
    program = (
        "import sys, threading, time\n"
        "from data.decoder import IsolatedDecoder\n"
        "from data.sampling import SamplingContract\n"
        "decoder = IsolatedDecoder(SamplingContract(), 60)\n"
        "threading.Thread(target=decoder.decode, args=(sys.argv[1],)).start()\n"
        "while decoder.process_id is None: time.sleep(0.01)\n"
        "print(decoder.process_id, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(hanging)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: "libavcodec" in Path(f"/proc/{child}/maps").read_text())
        assert is_alive(child)
        parent.kill()
    wait_until(lambda: not is_alive(child))


def test_close_leaves_no_process(video: Path) -> None:
    decoder = IsolatedDecoder(CONTRACT)
    decoder.decode(str(video))
    child = decoder.process_id
    decoder.close()
    assert child is not None and not is_alive(child)
