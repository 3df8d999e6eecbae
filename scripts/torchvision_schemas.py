"""Lets `import torchvision` work beside a PyTorch that its compiled operators were not built for.

`mend_environment.py` copies this file into an environment whose torchvision does not import, together with a
`.pth` file that makes every interpreter of that environment load it at start. Application code could not do this:
vLLM and Ray start processes of their own.

torchvision's Python half, all that a video processor needs, fails in one place only: it attaches shape functions
to operators (`nms`, `qnms`) whose schemas its compiled half would have declared. This hook declares those schemas
first. Nothing happens until torchvision is imported, PyTorch is not loaded before then, and where the compiled
half does load (a matching build was installed since) the hook leaves everything to it.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[object] = []  # torch.library forgets what it declared when the Library object goes


def compiled_operators_load(package: str) -> bool:
    """Whether the compiled half found in the folder `package` loads into this process's PyTorch."""
    import torch

    for library in glob.glob(os.path.join(package, "_C*.so")):
        try:
            torch.ops.load_library(library)
        except (ImportError, OSError):
            continue
        return True
    return False


def declare_schemas() -> None:
    """Declare the operators that torchvision's Python half expects and nobody has declared yet."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(schema)
    _declared.append(library)


class SchemasFirst(SourceFileLoader):
    """Loads torchvision after making sure that its operators are declared."""

    def exec_module(self, module: ModuleType) -> None:
        """Run torchvision's `__init__`, schemas first."""
        if not compiled_operators_load(os.path.dirname(self.path)):
            declare_schemas()
        super().exec_module(module)


class TorchvisionFinder(MetaPathFinder):
    """Finds torchvision where Python would, and gives it the loader above."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec for torchvision with our loader; None for every other module."""
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = SchemasFirst(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Put the finder in front of Python's own, once per process."""
    if not any(isinstance(finder, TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchvisionFinder())
