"""Whether the processes of a run fit into a GPU's memory, by the estimate of the memory plan."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from cluster.config import RunConfig
from cluster.planning.memory_plan import CUDA_GIB, GIB, kv_bytes_per_token, memory_plan
from cluster.planning.model_geometry import ModelGeometry

ENGINE, RANK = "rollout worker", "learner rank"
# Memory of common GPUs, GiB: RTX 4090 or L4, A100 40 GB, A100 or H100 80 GB, H200.
COMMON_GIB = (24.0, 40.0, 80.0, 141.0)
# With less than this share of its room to spare a process is called tight: allocators fragment.
SPARE = 0.1
DRIVER = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Fit:
    """One kind of process on a GPU.

    Attributes:
        process: Which, in words.
        needed: What it cannot do without, GiB.
        room: What it may take of the GPU, GiB.
    """

    process: str
    needed: float
    room: float

    @property
    def missing(self) -> float:
        """What it needs beyond its room, GiB; negative where some is left."""
        return self.needed - self.room

    @property
    def fits(self) -> bool:
        """Whether the estimate is within the room."""
        return self.missing <= 0

    @property
    def verdict(self) -> str:
        """`fits: 41.2 of 80`, `tight: ...` or `does NOT fit: ...`."""
        word = "tight" if self.needed > (1 - SPARE) * self.room else "fits"
        return f"{word if self.fits else 'does NOT fit'}: {self.needed:.3g} of {self.room:.3g}"


def gpu_here() -> float | None:
    """Memory of this machine's smallest GPU as its driver tells it, GiB; None where there is none."""
    if shutil.which(DRIVER[0]) is None:
        return None
    answer = subprocess.run(DRIVER, capture_output=True, text=True, timeout=30, check=False)
    sizes = [int(line) for line in answer.stdout.split() if line.isdecimal()]
    return min(sizes) / 1024 if sizes else None


def gpu_fits(config: RunConfig, geometry: ModelGeometry, gpu_gib: float) -> dict[str, Fit]:
    """How every kind of process that has GPUs fits into one of this memory, by its name."""
    needed = {}
    for process in memory_plan(config, geometry):
        if process.where == "GPU":
            needed[process.process] = process.total_gib
    if ENGINE in needed:
        needed[ENGINE] = _engine_needs(config, geometry)
    room = {ENGINE: config.rollout.gpu_memory_utilization * gpu_gib, RANK: _left_by_engines(config) * gpu_gib}
    return {name: Fit(name, gib, room[name]) for name, gib in needed.items()}


def sequences_at_a_time(config: RunConfig, geometry: ModelGeometry, gpu_gib: float) -> int:
    """Sequences of full length that an engine's KV cache would hold on such a GPU."""
    cache = config.rollout.gpu_memory_utilization * gpu_gib - _engine_needs(config, geometry)
    return 1 + int(cache / _sequence_gib(config, geometry)) if cache >= 0 else 0


def share_gpus(config: RunConfig) -> bool:
    """Whether a learner rank lies on a GPU that engines lie on."""
    return 0 < config.rollout.gpus_per_worker < 1 and 0 < config.learner.gpus_per_worker < 1


def _engine_needs(config: RunConfig, geometry: ModelGeometry) -> float:
    """Without room for one sequence of full length vLLM refuses to start; what it has beyond becomes KV cache."""
    weights = next(p.gib["weights"] for p in memory_plan(config, geometry) if p.process == ENGINE)
    return weights + _sequence_gib(config, geometry) + CUDA_GIB


def _sequence_gib(config: RunConfig, geometry: ModelGeometry) -> float:
    parts = config.rollout.tensor_parallel_size
    return config.max_model_tokens * kv_bytes_per_token(config, geometry) / parts / GIB


def _left_by_engines(config: RunConfig) -> float:
    """Share of its GPU's memory that a learner rank may take."""
    if not share_gpus(config):
        return 1.0
    rollout = config.rollout
    beside = int((1 - config.learner.gpus_per_worker) / rollout.gpus_per_worker + 1e-6)
    return 1.0 - min(beside, rollout.num_workers) * rollout.gpu_memory_utilization
