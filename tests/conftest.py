"""What tests of several packages share, and what keeps them apart from whatever else runs on the machine."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Makefile's choice for a Ray of the tests.
KEPT = {"RAY_USAGE_STATS_ENABLED"}

# The tests' Ray is their own. Variables of a Ray around them would lead them to its cluster, and its folder may name
# one that is gone; in a folder of any length or alphabet Ray's sockets have no room.
for name in [name for name in os.environ if name.startswith("RAY_") and name not in KEPT]:
    del os.environ[name]
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="zoe-", dir="/tmp")
atexit.register(shutil.rmtree, os.environ["RAY_TMPDIR"], ignore_errors=True)
# A token of these tests, and of no file: in the home folder every later `ray start` would ask for it.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Ray reads this when it is imported: its nodes are then on 127.0.0.1, as those of a run that starts Ray itself.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


@pytest.fixture(scope="module")
def ray_cluster() -> None:
    """One local Ray for all tests of a session, until one of them ends it; Ray ends the last with this process.

    It grants more CPUs than there are: the tests wait more than they compute.
    """
    import ray

    from cluster.runtime.ray_session import read_authentication_again

    options = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}
    for attempts_left in (2, 1, 0):
        if ray.is_initialized():
            return
        # An earlier test may have had Ray in this process read another mode and token.
        read_authentication_again()
        try:
            ray.init(address="local", num_cpus=8, **options)
        except Exception as error:
            # Ray gives its processes 30 s, a number of its own, which are too few on a busy machine now and then.
            if not attempts_left or "timed out during startup" not in str(error):
                raise
            ray.shutdown()
