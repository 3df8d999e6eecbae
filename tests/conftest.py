"""What tests of several packages share."""

from __future__ import annotations

import os

import pytest

# A Ray that is started here would leave a token in the home folder, which every later `ray start` then asks for.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


@pytest.fixture(scope="module")
def ray_cluster() -> None:
    """One local Ray for all tests of a session, until one of them ends it; Ray ends the last with this process.

    It grants more CPUs than there are: the tests wait more than they compute.
    """
    import ray

    if not ray.is_initialized():
        ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, configure_logging=False)
