"""How long weights take from one process to another on the same device, two ways."""

from __future__ import annotations

import tempfile
import time
from datetime import timedelta
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

BUCKET_BYTES = 2**28
PATIENCE_S = 120.0


def through_host(size: int, device: torch.device) -> float:
    """Seconds for `size` bytes in buckets: to the host, by gloo's broadcast, to the device again."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = str(Path(folder) / "meeting")
        receiver = mp.get_context("spawn").Process(
            target=_receive_by_gloo, args=(meeting, size, str(device)), daemon=True
        )
        receiver.start()
        group = _meet(meeting, rank=0)
        weights = torch.ones(size, dtype=torch.uint8, device=device)
        group.barrier().wait()
        began = time.perf_counter()
        for part in weights.split(BUCKET_BYTES):
            group.broadcast(part.cpu(), 0).wait()
        group.barrier().wait()
        seconds = time.perf_counter() - began
        receiver.join(PATIENCE_S)
    return seconds


def through_ipc(size: int, device: torch.device) -> float:
    """Seconds for `size` bytes by a handle of the memory itself, copied on the device by the receiver."""
    context = mp.get_context("spawn")
    weights, answers = context.Queue(), context.Queue()
    receiver = context.Process(
        target=_receive_by_handle, args=(weights, answers, size, str(device)), daemon=True
    )
    receiver.start()
    tensor = torch.ones(size, dtype=torch.uint8, device=device)
    answers.get(timeout=PATIENCE_S)
    began = time.perf_counter()
    weights.put(tensor)
    answers.get(timeout=PATIENCE_S)
    seconds = time.perf_counter() - began
    receiver.join(PATIENCE_S)
    return seconds


def _meet(meeting: str, rank: int) -> dist.ProcessGroupGloo:
    """A group of the two processes, beside the default one of this process if it has one."""
    return dist.ProcessGroupGloo(dist.FileStore(meeting, 2), rank, 2, timedelta(seconds=PATIENCE_S))


def _receive_by_gloo(meeting: str, size: int, device: str) -> None:
    group = _meet(meeting, rank=1)
    weights = torch.zeros(size, dtype=torch.uint8, device=device)
    group.barrier().wait()
    for part in weights.split(BUCKET_BYTES):
        bucket = torch.empty(part.shape, dtype=torch.uint8)
        group.broadcast(bucket, 0).wait()
        part.copy_(bucket)
    _finish(weights)
    group.barrier().wait()


def _receive_by_handle(weights: Queue[Tensor], answers: Queue[Any], size: int, device: str) -> None:
    mine = torch.zeros(size, dtype=torch.uint8, device=device)
    answers.put("ready")
    tensor = weights.get(timeout=PATIENCE_S)
    mine.copy_(tensor)
    del tensor
    _finish(mine)
    answers.put("done")


def _finish(weights: Tensor) -> None:
    """Wait for the device, and make sure that everything arrived."""
    if weights.is_cuda:
        torch.cuda.synchronize()
    assert bool(weights.all()), "not all weights arrived"
