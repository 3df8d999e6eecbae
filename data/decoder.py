"""Decoding in a process of its own: a clip that hangs or crashes the decoder costs that process and nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from data import decode_process
from data.limits import MAX_DECODER_BYTES
from data.sampling import SamplingContract, Windows
from data.video import Clip, ClipError, Span

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
REAP_TIMEOUT_S = 5.0
ATTEMPTS = 2

# The arguments of `data.video.decode_clip`, in order.
Request = tuple[str, SamplingContract, tuple[int, ...], Span | None, float | None]


class IsolatedDecoder:
    """Decodes clips in a child process that is kept between clips and replaced when one goes wrong.

    The child holds no part of this process (it is started, not forked), and dies with it. Not for use by several
    threads at a time.
    """

    def __init__(
        self, contract: SamplingContract, timeout_s: float = 20.0, memory: int = MAX_DECODER_BYTES
    ) -> None:
        """Start nothing yet; the first clip does.

        Args:
            contract: Chooses frames and size.
            timeout_s: Longest one attempt at a clip may take, seconds, the start of the child not counted.
            memory: Most address space that the child may take, bytes.
        """
        self.contract = contract
        self.memory = memory
        self.timeout_s = timeout_s
        self._child: _Child | None = None

    def decode(
        self,
        path: str,
        box_frames: Sequence[int] = (),
        span: Span | None = None,
        frame_rate: float | None = None,
        windows: Windows = (),
    ) -> Clip:
        """Decode one clip, as `data.video.decode_clip` does.

        A clip that takes too long or kills the child is tried once more, in a fresh one: the machine may have been
        busy. What the child itself says of a clip holds.

        Args:
            windows: The contract's, for this clip.

        Raises:
            ClipError: cannot be decoded, needs more memory than the child may take, or both attempts took too long or
                killed the child.
            RuntimeError: no child could be started; nothing to do with the clip.
        """
        contract = replace(self.contract, windows=windows)
        request = (path, contract, tuple(box_frames), span, frame_rate)
        for _ in range(ATTEMPTS):
            try:
                return self._attempt(request)
            except _NoAnswer as error:
                failure = str(error)
                self.close()
        raise ClipError(path, failure)

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one."""
        child = self._child
        return child.process.pid if child else None

    def close(self) -> None:
        """Kill the child, if any. The decoder can be used again."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, request: Request) -> Clip:
        if self._child is not None and self._child.process.poll() is not None:
            self.close()
        if self._child is None:
            self._child = _Child(self.memory)
        try:
            return self._child.decode(request, time.monotonic() + self.timeout_s)
        except MemoryError:
            raise self._out_of_memory(request) from None
        except TimeoutError:
            raise _NoAnswer(f"not decoded within {self.timeout_s:g} s") from None
        except (EOFError, ConnectionError):
            ending = self._child.how_it_ended()
            # C++ code does not say that it lacks memory: it aborts.
            if any(sign in ending for sign in ("MemoryError", "bad_alloc")):
                raise self._out_of_memory(request) from None
            raise _NoAnswer(f"the decoder process died: {ending}") from None

    def _out_of_memory(self, request: Request) -> ClipError:
        self.close()
        gibibytes = f"{self.memory / 2**30:g} GiB"
        return ClipError(
            request[0], f"needs more memory than the {gibibytes} that a decoder may take: shrink it"
        )


class _NoAnswer(Exception):
    """A child that took too long or died; the message says which."""


class _Child:
    """One decoding process and the socket to it."""

    def __init__(self, memory: int) -> None:
        self.connection, theirs = socket.socketpair()
        # Not passed on: FFmpeg reports every damaged file there, which the `ClipError` says already.
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `kill`)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", decode_process.__name__, str(theirs.fileno()), str(memory)],
                stdin=subprocess.PIPE,
                stderr=self.errors,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                # Ctrl-C reaches the run, which then ends its children; the child itself should not print a traceback.
                start_new_session=True,
            )
        try:
            decode_process.receive_message(self.connection, time.monotonic() + START_TIMEOUT_S)
        except (TimeoutError, EOFError, ConnectionError) as error:
            raise RuntimeError(f"no decoder process could be started: {self.kill()}") from error

    def decode(self, request: Request, deadline: float) -> Clip:
        """Decode one clip.

        Raises:
            ClipError, MemoryError: the child says so.
            TimeoutError, EOFError, ConnectionError: it does not answer.
        """
        decode_process.send_message(self.connection, request)
        answer = decode_process.receive_message(self.connection, deadline)
        if isinstance(answer, ClipError):
            raise answer
        if answer == decode_process.OUT_OF_MEMORY:
            raise MemoryError(answer)
        header, shape = answer
        frames = np.empty(shape, dtype=np.uint8)
        decode_process.receive_into(self.connection, frames.data.cast("B"), deadline)
        return replace(header, frames=frames)

    def kill(self) -> str:
        """End the process and say how it ended. One in an uninterruptible system call is left to the kernel."""
        self.process.kill()
        ending = self.how_it_ended()
        self.connection.close()
        self.errors.close()
        assert self.process.stdin is not None
        self.process.stdin.close()
        return ending

    def how_it_ended(self) -> str:
        """`exit code 1` or `signal 9`, with the last line it wrote to standard error."""
        try:
            code = self.process.wait(REAP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "it does not end"
        self.errors.seek(0)
        written = self.errors.read().decode(errors="replace").strip().splitlines()
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"{ending} ({written[-1]})" if written else ending


def _environment() -> dict[str, str]:
    """This process's environment with the project importable, and no pool of threads for arithmetic.

    Each thread that allocates would take 64 MiB of address space for itself.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    return os.environ | {"PYTHONPATH": path} | single
