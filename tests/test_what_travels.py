"""Keys, environments and runs stay on the machine: neither jobs of a cluster nor images take them along."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from ray._private.runtime_env.packaging import create_package
from ray._private.thirdparty.pathspec import PathSpec

ROOT = Path(__file__).resolve().parents[1]
STAY = [
    *(".env", ".env.local", "configs/.env", "server.pem", "keys/judge.key", "x.p12", "x.pfx", ".netrc"),
    *(".ssh/config", "home/.aws/credentials", "id_rsa", "home/id_ed25519.pub"),
    *("runs/a/config.yaml", ".venv/bin/python", "wandb/run/x"),
]
TRAVEL = [".env.example", "configs/local.yaml", "cluster/launch.py", "learner/tiny_tokenizer.py"]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    return listed.stdout.splitlines()


@pytest.mark.parametrize("reads_gitignore", [True, False])
def test_a_submitted_job_takes_no_keys_along(tmp_path: Path, reads_gitignore: bool) -> None:
    project = tmp_path / "project"
    for name in (*STAY, *TRAVEL):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, project / name)
    create_package(str(project), tmp_path / "job.zip", include_gitignore=reads_gitignore)
    with zipfile.ZipFile(tmp_path / "job.zip") as package:
        found = {name for name in package.namelist() if not name.endswith("/")}
    assert found == {*TRAVEL, ".gitignore", ".rayignore"}


@pytest.mark.parametrize("name", [".gitignore", ".rayignore", ".dockerignore"])
def test_each_list_keeps_keys_back_and_the_project_not(name: str) -> None:
    # Docker's patterns with `**/` mean what git's do.
    kept = PathSpec.from_lines("gitwildmatch", (ROOT / name).read_text().splitlines())
    assert [path for path in STAY if not kept.match_file(path)] == []
    assert [path for path in (*TRAVEL, *tracked()) if kept.match_file(path)] == []
