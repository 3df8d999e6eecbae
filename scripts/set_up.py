"""Create `.venv` with every pinned dependency, in one command: what `make setup` runs.

    python3 scripts/set_up.py [--extra cpu|gpu] [--python PATH]

Standard library only. Any Python from 3.8 may start it; the environment gets 3.11 or 3.12. A second run finds its
stamp (a hash of everything that decides what is installed) and ends at once. A step that fails says which, why and
what to do, and leaves the full output in `.venv/set-up.log`; running it again carries on.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from step_output import SetUpFailed, run_step

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "zoetrope-stamp"
LOG = VENV / "set-up.log"
PINS = "constraints.txt"
SUPPORTED = ("3.11", "3.12")
NEEDED_GB = {"cpu": 8, "gpu": 25}
CPU_INDEX = os.environ.get("ZOETROPE_CPU_INDEX", "https://download.pytorch.org/whl/cpu")
INDEX_PATIENCE_S = 3.0
DECIDING_SECTIONS = re.compile(
    r"^\[(?:build-system|project|tool\.setuptools).*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL
)
DECIDING_FILES = (
    PINS,
    "scripts/set_up.py",
    "scripts/mend_environment.py",
    "scripts/torchvision_schemas.py",
)

# What pip prints last -> why it failed, what to do about it. The first that matches is shown.
PIP_FAILURES = (
    (r"No space left on device", "the disk is full", "free some space (`df -h .`) and run it again"),
    (
        r"torch==2\.13\.0\+cpu",
        "no package index that pip uses has PyTorch's CPU build",
        f"let this machine reach {CPU_INDEX}, or put the wheel into a folder and set PIP_FIND_LINKS to it",
    ),
    (
        r"NewConnectionError|NameResolutionError|ProxyError|SSLError|Max retries|timed out",
        "a package index does not answer",
        "check the network, the proxy and `pip config list`, then run it again",
    ),
    (
        r"ResolutionImpossible|conflicting dependencies",
        "the pinned versions contradict each other",
        "if you changed pyproject.toml or constraints.txt, see CONTRIBUTING.md, 'Changing a dependency'",
    ),
    (
        r"No matching distribution",
        "no package index has a pinned version",
        "check `pip config list`: every index named there is asked, a mirror may lack a package",
    ),
    (
        r"Failed to build|Failed building|error: command",
        "a package that is compiled on this machine did not build",
        "the compiler's message is in the log",
    ),
)


def fingerprint(extra: str) -> str:
    """A hash of everything that decides what is installed, the checkout's place included."""
    digest = hashlib.sha256(f"{extra} {ROOT}".encode())
    project = (ROOT / "pyproject.toml").read_text()  # lint settings install nothing
    digest.update("".join(DECIDING_SECTIONS.findall(project)).encode())
    for name in DECIDING_FILES:
        digest.update((ROOT / name).read_bytes())
    configuration = VENV / "pyvenv.cfg"
    digest.update(configuration.read_bytes() if configuration.exists() else b"")
    return f"{extra} {digest.hexdigest()}"


def is_current(extra: str) -> bool:
    """Whether the environment is there and nothing that decides its contents has changed."""
    return PYTHON.exists() and STAMP.exists() and STAMP.read_text() == fingerprint(extra)


def version_of(python: str) -> str | None:
    """The `major.minor` of an interpreter, or None when it does not run (a version manager's empty shim)."""
    command = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.decode().strip() if result.returncode == 0 else None


def find_python(asked: str | None) -> str:
    """The interpreter to build the environment with: the one asked for, else the first supported one."""
    candidates = [asked] if asked else ["python3.11", sys.executable, "python3.12"]
    seen = {candidate: version_of(candidate) for candidate in candidates}
    for candidate, version in seen.items():
        if version in SUPPORTED:
            return candidate
    found = ", ".join(f"{candidate} is {version or 'not there'}" for candidate, version in seen.items())
    raise SetUpFailed(
        f"Python {' or '.join(SUPPORTED)} is needed ({found})",
        "install it (Debian, Ubuntu: `apt-get install python3.11 python3.11-venv python3.11-dev`) or name one: "
        "`make setup PYTHON=/path/to/python3.11`",
    )


def check_compiler(python: str) -> None:
    """A C++ compiler and Python's headers: PyTorch and DeepSpeed compile kernels while a run starts."""
    names = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(name) for name in names):
        raise SetUpFailed(
            f"no C++ compiler on PATH (looked for {', '.join(names)})",
            "install one (Debian, Ubuntu: `apt-get install g++`; Fedora: `dnf install gcc-c++`) or set CXX",
        )
    code = "import os, sysconfig; print(os.path.exists(sysconfig.get_paths()['include'] + '/Python.h'))"
    if subprocess.run([python, "-c", code], stdout=subprocess.PIPE).stdout.strip() != b"True":
        raise SetUpFailed(
            f"the C headers of {python} (Python.h) are not installed",
            "install them (Debian, Ubuntu: `apt-get install python3-dev`; Fedora: `dnf install python3-devel`)",
        )


def check_libraries() -> None:
    """libnuma, which vLLM's CPU build links to and no package brings along."""
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError as error:
        raise SetUpFailed(
            f"vLLM's CPU build needs libnuma ({error})",
            "install it (Debian, Ubuntu: `apt-get install libnuma1`; Fedora: `dnf install numactl-libs`)",
        ) from error


def check_disk(extra: str) -> None:
    """Room for the environment, unless it is already there in part."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if not VENV.exists() and free_gb < NEEDED_GB[extra]:
        raise SetUpFailed(
            f"{free_gb:.1f} GB free in {ROOT}, the environment needs {NEEDED_GB[extra]} GB",
            "free some space or clone the repository to a larger disk",
        )


def installed_extra() -> str | None:
    """The build of vLLM that `.venv` has, or was being given; None without one."""
    return STAMP.read_text().split()[0] if STAMP.exists() else None


def create_environment(python: str, extra: str) -> None:
    """Make `.venv`; keep one that works, replace one for another Python or the other build of vLLM."""
    if installed_extra() in (None, extra) and version_of(str(PYTHON)) in SUPPORTED:
        return
    result = subprocess.run(
        [python, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if result.returncode != 0:
        raise SetUpFailed(
            f"{python} -m venv failed: {result.stdout.decode().strip()[-400:]}",
            "if ensurepip is missing, install the venv module (Debian, Ubuntu: `apt-get install python3-venv`)",
        )
    STAMP.write_text(f"{extra} unfinished")


def cpu_index_answers() -> bool:
    """Whether PyTorch's CPU index is reachable. Never takes longer than the patience above, DNS included."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(CPU_INDEX + "/torch/", timeout=INDEX_PATIENCE_S) as reply:
                answers.append(reply.status == 200)
        except (OSError, ValueError):
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(INDEX_PATIENCE_S)
    return answers == [True]


def install_packages(extra: str) -> None:
    """Have pip install the project, editable, with the pins; where to look is pip's own configuration."""
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar=off", "--no-compile"]
    command += ["--disable-pip-version-check", "-c", PINS]
    if extra == "cpu" and cpu_index_answers():
        command += ["--extra-index-url", CPU_INDEX]
    environment = {"PIP_CONSTRAINT": PINS, "PIP_BUILD_CONSTRAINT": PINS}  # the isolated builds too
    status, tail = run_step([*command, "-e", f".[{extra},dev]"], LOG, ROOT, environment)
    if status != 0:
        raise pip_failure(tail)


def pip_failure(tail: str) -> SetUpFailed:
    """What pip's last words mean, in ours; the line that says so is quoted."""
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    for pattern, why, advice in PIP_FAILURES:
        telling = [line for line in lines if re.search(pattern, line)]
        if telling:
            return SetUpFailed(f"{why}\n    pip: {telling[-1][:400]}", f"{advice}\n  log: {LOG}")
    return SetUpFailed(f"pip failed: {' '.join(lines[-3:])[:400]}", f"read the end of {LOG}")


def compile_packages() -> None:
    """Compile every package once, on all cores; pip does it on one, and some shells forbid it to later imports.

    A run starts a dozen processes, and each would spend half a minute on compiling torch, transformers and vLLM. What
    some packages ship for other Pythons does not compile, and nobody imports it.
    """
    command = [str(PYTHON), "-m", "compileall", "-qq", "-j", "0", str(VENV / "lib")]
    run_step(command, LOG, ROOT, {})


def mend(extra: str) -> None:
    """Try the imports that break beside a CPU-only PyTorch; mend what is broken."""
    options = ["--no-check"] if extra == "gpu" else []
    command = [str(PYTHON), "scripts/mend_environment.py", *options]
    status, tail = run_step(command, LOG, ROOT, {}, echo=True)
    if status != 0:
        raise SetUpFailed(f"the environment does not work: {tail.strip()[-600:]}", f"read the end of {LOG}")


def prepare(extra: str, asked_python: str | None) -> None:
    """Run the steps in order. Raises SetUpFailed, with the step's name, when one does not work."""
    with naming("finding Python"):
        python = find_python(asked_python)
    with naming("checking compiler, libraries and disk"):
        check_compiler(python)
        if extra == "cpu":
            check_libraries()
        check_disk(extra)
    with naming("creating the environment"):
        say(f"1/3: creating {VENV} with {python}")
        create_environment(python, extra)
    with naming("installing the pinned packages"):
        say(f"2/3: installing the pinned packages (a few minutes; log: {LOG})")
        STAMP.write_text(f"{extra} unfinished")
        install_packages(extra)
        compile_packages()
    with naming("trying the imports"):
        say("3/3: trying the imports, mending only what is broken")
        mend(extra)
    STAMP.write_text(fingerprint(extra))


@contextmanager
def naming(step: str) -> Iterator[None]:
    """Note on a failure in which step it happened."""
    try:
        yield
    except SetUpFailed as failure:
        failure.step = step
        raise


def say(text: str) -> None:
    """One line about where set-up is."""
    print(f"set-up {text}", flush=True)


def main() -> int:
    """0 when the environment is ready, 1 when a step failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(description="Create .venv with every pinned dependency.")
    parser.add_argument(
        "--extra", choices=sorted(NEEDED_GB), help="which build of vLLM; default: the one installed, or cpu"
    )
    parser.add_argument("--python", help="the interpreter to use; default: the first of 3.11, 3.12 found")
    arguments = parser.parse_args()
    extra = arguments.extra or installed_extra() or "cpu"
    if is_current(extra):
        say("done: .venv is up to date")
        return 0
    try:
        prepare(extra, arguments.python)
    except SetUpFailed as failure:
        print(
            f"\nset-up failed while {failure.step}\n  why: {failure.why}\n  do:  {failure.advice}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nset-up interrupted; the same command carries on", file=sys.stderr)
        return 130
    say("done: .venv is ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
