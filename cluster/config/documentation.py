"""Writes docs/configuration.md from the configuration's own descriptions: `python -m cluster.config.documentation`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from cluster.config import Section
from cluster.config.fields import ConfigField, all_fields, every_field, sections, shown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

_INTRODUCTION = """\
# Configuration

One YAML file describes a run:

```
python -m cluster.launch --config configs/local.yaml rollout.num_workers=2 grpo.steps=100
```

- **Files.** Sections hold fields, one level deep, but for lists of datasets. `extends: other.yaml` builds on
  another file, its path relative to the file that names it; chains are fine. A field given again is replaced, whole.
- **Overrides.** `section.field=value` wins over the files. The value is YAML: `ray.address=null`,
  `learner.adam_betas='[0.9, 0.95]'`, `data.tasks='{{tracking: 1}}'`. `data.tasks.tracking=2` sets one entry, and
  `data.datasets[0].cap=100` one of a list.
- **Mistakes.** An unknown key, a wrong type, values that contradict each other, a missing model or dataset,
  more GPUs than there are: one message names all, each with its place, before anything is started.
- **`--dry-run`** prints the resolved configuration without what such a run has no use for, what each actor
  reserves, and the memory plan; it needs no Ray, GPU, model or dataset. Where workers have GPUs it says of each
  kind whether its estimate fits: the GPU of this machine, that of `--gpu-gib 80`, or else which common sizes; and
  what to change in the YAML if it does not.
- **`--resume`** goes on from the last checkpoint of the run; what is trained or evaluated must be as it was,
  while `grpo.steps`, time limits and everything about workers may change, but for `learner.num_workers` and
  `learner.zero_stage`: they lay out the checkpoints.
- **Scalars** are YAML 1.2: `1e-6` is a number, and only `true` and `false` are booleans.
- **Environment.** RAY_ADDRESS or `ray.address` names a cluster to join, and one that does not answer is a mistake.
  Without them a run starts a Ray of its own, whatever else runs on the machine. Its folder for temporary files
  (RAY_TMPDIR, else TMPDIR) must be short, absolute and ASCII, for Ray's sockets. A judge on this machine is asked
  past any proxy; one that is asked through a proxy that does not answer is a mistake.
- **Trust.** A configuration is code: `reward.custom` names functions that a run imports and calls. A dry run only
  looks whether they are there. So is a checkpoint to resume from: DeepSpeed's files are pickles, which do whatever they
  say when they are read. Run and resume only what comes from someone you trust. A policy (`model.path`, `policy/` in a
  run's folder) is safetensors and JSON, and code that comes with one is never run.

Relative paths start at the folder the run is started in, and a leading `~` is the home folder. For a submitted job
the former is a copy, so give it an absolute `run.output_dir`. {count} fields:
"""


def page() -> str:
    """The page's text."""
    parts = [_INTRODUCTION.format(count=len(list(every_field())))]
    for name, section in sections().items():
        parts.append(_section(name, section))
    return "\n".join(parts)


def _section(name: str, section: type[Section]) -> str:
    rows = [field for field in all_fields().values() if field.key.startswith(f"{name}.")]
    lines = [f"## {name}", "", inspect.getdoc(section) or "", "", *_table(rows)]
    for field in rows:
        if field.entries:
            lines += [f"Each entry of `{field.key}`:", "", *_table(field.entries)]
    return "\n".join(lines)


def _table(fields: Sequence[ConfigField]) -> list[str]:
    head = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
    return [*head, *(_row(field) for field in fields), ""]


def _row(field: ConfigField) -> str:
    default = "required" if field.required else f"`{shown(field.default)}`"
    cells = (f"`{field.key}`", default, field.allowed, field.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
