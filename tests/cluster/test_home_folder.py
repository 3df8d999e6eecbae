"""A leading ~ in a path of the configuration is the home folder: neither YAML nor `key=~/x` in a shell expands it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster.config.loading import load_config
from cluster.inputs.datasets import spec_of

PATHS = ("run.output_dir", "model.path", "data.source", "data.eval_source", "data.grades", "judge.cache")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("key", PATHS)
def test_a_path(home: Path, key: str) -> None:
    (home / "base.yaml").write_text("data: {template: direct}\n")
    (home / "run.yaml").write_text("extends: ~/base.yaml\n")
    section, _, name = key.partition(".")
    loaded = load_config(
        "~/run.yaml", ["model.path=a/b", "data.difficulty=[0, 1]", "data.grades=g", f"{key}=~/x"]
    )
    assert getattr(getattr(loaded, section), name) == str(home / "x")


def test_the_paths_of_a_dataset(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a variable, which a shell need not have set, too."""
    monkeypatch.setenv("CLIPS", "~/clips")
    paths = {"annotations": "~/a.jsonl", "videos": "${CLIPS}/v", "options": {"durations": "~/d"}}
    entry = {"name": "a", "format": "charades_sta", **paths}
    (home / "run.yaml").write_text(
        yaml.safe_dump(
            {"model": {"path": "a/b"}, "data": {"tasks": {"temporal_grounding": 1}, "datasets": [entry]}}
        )
    )
    (read,) = load_config(home / "run.yaml").data.datasets
    spec = spec_of(read)
    assert (spec.annotations, spec.videos) == (home / "a.jsonl", home / "clips" / "v")
    assert spec.file("durations", "") == home / "d"
