"""Fixtures of the learner's tests: a tiny policy, and ranks started in this process."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import pytest
import torch

from learner import rank as rank_module
from learner.rank import LearnerRank
from learner.settings import LearnerSettings
from learner.tiny_policy import build_tiny_policy
from tests.learner.partitioned import partition_everything
from tests.learner.tiny import RandomEncoder, build_policy


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests run side by side on few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def small_parameters_are_partitioned(monkeypatch: pytest.MonkeyPatch) -> None:
    """See `tests.learner.partitioned`."""
    monkeypatch.setattr(rank_module, "deepspeed_config", partition_everything)


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with a tied head."""
    return build_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="session")
def untied_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights with a head of its own."""
    return build_policy(tmp_path_factory.mktemp("untied"), tie=False)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny policy of the demo, with tokenizer and processor."""
    return build_tiny_policy(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def start_rank(policy_folder: Path) -> Callable[..., LearnerRank]:
    """Starts a rank that has no others, in this process."""

    def start(folder: Path = policy_folder, **settings: object) -> LearnerRank:
        every = LearnerSettings(cpu_threads=1, **settings)  # type: ignore[arg-type]
        rank = LearnerRank(every, str(folder), RandomEncoder)  # type: ignore[arg-type]
        rank.start("127.0.0.1", free_port(), 0, 1)
        return rank

    return start


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
