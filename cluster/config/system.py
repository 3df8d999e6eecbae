"""What holds the sides together: weight sync, metrics, Ray."""

from __future__ import annotations

from typing import Literal

from cluster.config.base import Section, described


class SyncSection(Section):
    """Weights on their way from the learner to the rollout workers."""

    backend: Literal["auto", "gloo", "nccl"] = described(
        "auto", "`nccl` between GPUs of their own, `gloo` elsewhere; `auto` chooses by the placement."
    )
    bucket_mib: int = described(256, "Size of the buckets that weights are packed into, MiB.", ge=1)
    timeout_s: float = described(120.0, "Longest one sync may take, seconds.", gt=0)


class LoggingSection(Section):
    """Where the scalars of `metrics.jsonl` go besides."""

    wandb_mode: Literal["offline", "online", "disabled"] = described("offline", "How wandb records the run.")
    wandb_project: str = described("zoetrope", "wandb project that runs are filed under.", min_length=1)
    ray_metrics: bool = described(True, "Publish the scalars on Ray's metrics endpoint.")


class RaySection(Section):
    """The Ray cluster."""

    address: str | None = described(
        None, "Cluster to join, `host:port` or `auto`; null takes RAY_ADDRESS, or starts Ray on this machine."
    )
    num_cpus: int | None = described(
        None,
        "CPUs that Ray may hand out on this machine, cores; null counts them. Only if Ray is started here.",
        ge=1,
    )
