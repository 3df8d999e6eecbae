"""The tasks: a file each, registered here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewards.spec import TaskSpec
from rewards.tasks import (
    captioning,
    free_form,
    grounded_qa,
    multiple_choice,
    numerical,
    ocr,
    quality,
    regression,
    spatial_grounding,
    temporal_grounding,
    tracking,
)

SPECS: Mapping[str, TaskSpec[Any, Any]] = {
    spec.name: spec
    for spec in (
        temporal_grounding.SPEC,
        tracking.SPEC,
        multiple_choice.SPEC,
        grounded_qa.SPEC,
        spatial_grounding.SPEC,
        captioning.SPEC,
        quality.SPEC,
        numerical.SPEC,
        ocr.SPEC,
        free_form.SPEC,
        regression.SPEC,
    )
}

# Component order is the order of the scores written out.
COMPONENTS: Mapping[str, tuple[str, ...]] = {name: spec.components for name, spec in SPECS.items()}
MAIN_COMPONENT: Mapping[str, str] = {name: spec.main for name, spec in SPECS.items()}
TASKS = tuple(SPECS)
