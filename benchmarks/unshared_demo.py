"""The demo as it would be without shared prompts: `python -m benchmarks.unshared_demo run.name=unshared run.seed=0`.

A run of `configs/local.yaml` whose learner is handed every response with a prompt of its own, so that it computes clip
and prompt once per response. It learns the same but for rounding; `python -m cluster.results` compares it with others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

from cluster import launch
from cluster.training.groups import Group
from data.records import TrainSample


def apart(samples: Sequence[TrainSample]) -> list[TrainSample]:
    """The same samples, none with the prompt of another."""
    return [
        replace(sample, prompt=replace(sample.prompt, id=f"{sample.prompt.id}/{number}"))
        for number, sample in enumerate(samples)
    ]


def main() -> None:
    """Launch the run."""
    with_group = Group.samples

    def alone(group: Group) -> list[TrainSample]:
        return apart(with_group(group))

    Group.samples = alone  # type: ignore[method-assign]
    sys.argv[1:] = ["--config", "configs/local.yaml", *sys.argv[1:]]
    launch.app()


if __name__ == "__main__":
    main()
