"""The policy that a run, or the grading of prompts, starts from."""

from __future__ import annotations

from pathlib import Path

from cluster.config import TINY, RunConfig
from cluster.inputs.prompts import contract_of

TINY_POLICY = "tiny_policy"


def initial_policy(config: RunConfig) -> Path | str:
    """A Hub id, or the absolute path of a folder; built in the run's folder if it is the tiny one."""
    if config.model.path != TINY:
        folder = Path(config.model.path)
        return folder.absolute() if folder.is_dir() else config.model.path
    from learner.tiny_policy import build_tiny_policy

    # The same weights for every run, as those of a published checkpoint are; `run.seed` seeds what a run does.
    return build_tiny_policy((config.run_dir / TINY_POLICY).absolute(), contract=contract_of(config))
