"""The child process of `data.decoder.IsolatedDecoder`: decodes one clip at a time for its parent.

Run as `python -m data.decode_process FD BYTES`: its end of a socket pair, and the memory that it may take. Imports
neither torch nor Ray, so that a killed child is replaced in half a second. Messages are a length of 8 bytes and a
pickle; a clip's pixels follow its message as raw bytes, so that the parent reads them straight into an array.
"""

from __future__ import annotations

import os
import pickle
import resource
import socket
import struct
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from data.video import ClipError, decode_clip

READY = "ready"
OUT_OF_MEMORY = "out of memory"
_LENGTH = struct.Struct("!Q")


def serve(connection: socket.socket) -> None:
    """Answer requests, the arguments of `decode_clip`, with a clip or a `ClipError`, until the parent hangs up.

    The last answer is `OUT_OF_MEMORY` where a clip takes more memory than this process may have.
    """
    send_message(connection, READY)
    while True:
        request = receive_message(connection)
        try:
            clip = decode_clip(*request)
        except ClipError as error:
            send_message(connection, error)
            continue
        except MemoryError:
            # It may still hold most of the memory: the parent starts another.
            send_message(connection, OUT_OF_MEMORY)
            return
        header = replace(clip, frames=np.empty(0, dtype=np.uint8))
        send_message(connection, (header, clip.frames.shape))
        connection.sendall(clip.frames.data.cast("B"))


def send_message(connection: socket.socket, message: Any) -> None:
    """Send one picklable object."""
    body = pickle.dumps(message)
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive_message(connection: socket.socket, deadline: float | None = None) -> Any:
    """Receive one object.

    Args:
        deadline: On the clock of `time.monotonic`; None waits without end.

    Raises:
        EOFError: the other end hung up.
        TimeoutError: the deadline passed.
    """
    prefix = bytearray(_LENGTH.size)
    receive_into(connection, memoryview(prefix), deadline)
    body = bytearray(_LENGTH.unpack(prefix)[0])
    receive_into(connection, memoryview(body), deadline)
    return pickle.loads(body)


def receive_into(connection: socket.socket, place: memoryview, deadline: float | None = None) -> None:
    """Fill `place` (bytes) from the connection. Raises as `receive_message` does."""
    while place:
        if deadline is not None:
            connection.settimeout(_remaining(deadline))
        received = connection.recv_into(place)
        if received == 0:
            raise EOFError("the other end hung up")
        place = place[received:]


def _remaining(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("the deadline passed")
    return seconds


def _die_with_parent() -> None:
    """Exit when standard input, a pipe that only the parent holds, closes; works while the main thread hangs in C."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _limit_memory(memory: int) -> None:
    """Let allocations fail beyond so many bytes of address space, or fewer where the system allows fewer."""
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    least = min([memory, *limits])
    resource.setrlimit(resource.RLIMIT_AS, (least, least))


def main() -> None:
    """Entry point of the child."""
    _die_with_parent()
    descriptor, memory = map(int, sys.argv[1:])
    _limit_memory(memory)
    with socket.socket(fileno=descriptor) as connection:
        try:
            serve(connection)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
