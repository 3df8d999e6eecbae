"""Fixtures of the end-to-end tests: one Ray and one tiny policy for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray that grants more CPUs than there are: the tests wait more than they compute."""
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny policy with random weights."""
    from learner.tiny_policy import build_tiny_policy

    folder: Path = tmp_path_factory.mktemp("policy")
    return str(build_tiny_policy(folder, seed=0))
