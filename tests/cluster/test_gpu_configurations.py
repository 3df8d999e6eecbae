"""What the configurations and the image for GPUs promise each other; no GPU is needed to see it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from cluster.config.loading import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted([*ROOT.glob("configs/qwen2_5_vl_*.yaml"), *ROOT.glob("configs/videochat_r1*.yaml")])
# Ray's share of the shared memory that its object store may take (ray/_private/utils.py).
STORE_OF_SHARED_MEMORY = 0.95


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_either_side_may_be_the_one_that_downloads_the_checkpoint(path: Path) -> None:
    config = load_config(path)
    assert config.learner.start_timeout_s >= config.rollout.start_timeout_s


def documented_command() -> str:
    head = (ROOT / "docker" / "Dockerfile.cuda").read_text().split("\nFROM")[0]
    return head[head.index("docker run") :].replace("\\\n#", " ")


def test_the_documented_container_holds_the_clips_of_its_configuration() -> None:
    command = documented_command()
    shared = re.search(r"--shm-size=(\d+)g", command)
    path = re.search(r"configs/\w+\.yaml", command)
    assert shared and path
    config = load_config(ROOT / path[0])
    assert STORE_OF_SHARED_MEMORY * int(shared[1]) >= config.data.cache_gib


def test_the_documented_container_sees_the_data_and_the_cache_of_the_hub() -> None:
    command = documented_command()
    recipe = (ROOT / "configs" / "videochat_r1.yaml").read_text()
    for variable in set(re.findall(r"\$\{(\w+)\}", recipe)):
        folder = re.search(rf"-e {variable}=(\S+)", command)
        assert folder and "-v /data:/data:ro" in command and folder[1].startswith("/data/")
    cache = re.search(r"-e HF_HOME=(\S+)", command)
    assert cache and f':{cache[1]}" ' in command


def test_one_package_alone_brings_each_file_of_cuda_python() -> None:
    """Before 13, cuda-python had files that are cuda-bindings' own in 13."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert Version(pins["cuda-python"]).release[:2] == Version(pins["cuda-bindings"]).release[:2]
