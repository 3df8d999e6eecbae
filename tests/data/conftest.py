"""What the tests of `data` share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read by vLLM when it is imported.
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Qwen2.5-VL with random weights."""
    from learner.tiny_policy import build_tiny_policy

    return build_tiny_policy(tmp_path_factory.mktemp("tiny") / "policy")
