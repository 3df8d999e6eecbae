"""Try the imports that break beside a CPU-only PyTorch and mend, in the environment, only those that do break.

Run by the environment's own Python, by `set_up.py` and by `docker/Dockerfile.cpu`; running it again is harmless.

The general package index carries CUDA builds of torchaudio, torchcodec and torchvision. Beside PyTorch's CPU build
they fail on import, and vLLM and transformers import them when they are there. With the CPU builds installed
(PyTorch's own CPU index has them) or on a CUDA machine every import below works and nothing is touched.

| package     | symptom on import                            | mend                                                   |
|-------------|----------------------------------------------|--------------------------------------------------------|
| torchaudio  | OSError, its library does not load           | uninstall: nothing here reads audio                    |
| torchcodec  | OSError, its library does not load           | uninstall: clips are decoded by PyAV                   |
| torchvision | `operator torchvision::nms does not exist`   | start-up hook that declares it, torchvision_schemas.py |

A RuntimeError from torchcodec is left alone: it means that FFmpeg is missing, and vLLM handles that itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOOK = Path(__file__).with_name("torchvision_schemas.py")
HOOK_MODULE = "zoetrope_torchvision_schemas"
ABSENT = "absent"

# What a run imports first, each in the process that does so: if these work, the environment works.
NEEDED_BY_A_RUN = {
    "transformers' video processor and model": (
        "from transformers import Qwen2VLVideoProcessor, Qwen2_5_VLForConditionalGeneration"
    ),
    "vLLM's Qwen2.5-VL": "import vllm.model_executor.models.qwen2_5_vl, vllm.multimodal.video",
    "DeepSpeed, Ray, PyAV": "import deepspeed, ray, av",
}


@dataclass(frozen=True)
class Mend:
    """One package that may be broken: the error vLLM tolerates, what to do otherwise, and words for it."""

    package: str
    tolerated: str
    action: Callable[[str], None]
    done: str


def try_import(statement: str, package: str = "", tolerated: str = "()") -> str:
    """Run an import statement in a fresh process.

    Returns:
        "" when it works, ABSENT when `package` is not installed, otherwise the error's last line.
    """
    code = f"""
try:
    {statement}
except ModuleNotFoundError as error:
    if error.name != {package!r}:
        raise
    raise SystemExit({ABSENT!r})
except {tolerated}:
    pass
"""
    environment = os.environ | {"DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", default_accelerator())}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    return "" if result.returncode == 0 else (result.stderr.strip().splitlines() or ["it crashed"])[-1]


def default_accelerator() -> str:
    """DeepSpeed's accelerator for the PyTorch build that is installed."""
    from importlib.metadata import version

    return "cpu" if version("torch").endswith("+cpu") else "cuda"


def uninstall(package: str) -> None:
    """Remove a package from this environment."""
    command = [sys.executable, "-m", "pip", "uninstall", "--yes", "--quiet", package]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def install_hook(_package: str) -> None:
    """Copy the torchvision hook into site-packages and have every interpreter load it."""
    site_packages = Path(sysconfig.get_paths()["purelib"])
    shutil.copyfile(HOOK, site_packages / f"{HOOK_MODULE}.py")
    (site_packages / f"{HOOK_MODULE}.pth").write_text(f"import {HOOK_MODULE}; {HOOK_MODULE}.install()\n")


MENDS = (
    Mend("torchaudio", "()", uninstall, "removed, nothing here reads audio"),
    Mend("torchcodec", "RuntimeError", uninstall, "removed, clips are decoded by PyAV"),
    Mend("torchvision", "()", install_hook, "its operators are now declared by a start-up hook"),
)


def mend_where_broken(mend: Mend) -> str | None:
    """Try one package and mend it if it does not import.

    Returns:
        The error that is left, or None.
    """
    error = try_import(f"import {mend.package}", mend.package, mend.tolerated)
    if not error or error == ABSENT:
        print(f"  {mend.package}: {error or 'imports'}")
        return None
    mend.action(mend.package)
    left = try_import(f"import {mend.package}", mend.package, mend.tolerated)
    if left and left != ABSENT:
        return f"{mend.package} still does not import: {left}"
    print(f"  {mend.package}: {mend.done}\n    (it did not import: {error})")
    return None


def check(name: str, statement: str) -> str | None:
    """The complaint about one thing a run needs, or None."""
    error = try_import(statement)
    print(f"  {name}: {error or 'imports'}")
    return f"{name} does not import: {error}" if error else None


def main() -> int:
    """Mend, then check what a run needs; the exit status is 1 when something is still broken."""
    parser = argparse.ArgumentParser(description="Mend what does not import beside a CPU-only PyTorch.")
    parser.add_argument("--no-check", action="store_true", help="mend only (an image built without a GPU)")
    arguments = parser.parse_args()
    complaints = [mend_where_broken(mend) for mend in MENDS]
    if not arguments.no_check:
        complaints += [check(name, statement) for name, statement in NEEDED_BY_A_RUN.items()]
    left = [complaint for complaint in complaints if complaint]
    for complaint in left:
        print(f"error: {complaint}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
