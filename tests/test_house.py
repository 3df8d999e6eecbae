"""The repository's own promises: arrows between packages, commands in the documents, pins, images."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("actors", "cluster", "data", "learner", "rewards")
DOCUMENTS = ("README.md", "CONTRIBUTING.md")
PAGES = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
# What readers of the pages are to make themselves.
MADE_BY_READERS = {"configs/mine.yaml"}


def tool(name: str) -> str:
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        pytest.skip(f"{name} is not in this environment")
    return str(path)


def rooms() -> list[str]:
    """The modules and packages of `cluster` that its contract puts into layers."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract.get("containers") == ["cluster"])
    return [room.strip() for layer in layers for room in layer.split("|")]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [tool("lint-imports"), "--config", str(folder / "pyproject.toml"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("rewards/iou.py", "import data"),
        ("rewards/iou.py", "import torch"),
        ("data/video.py", "import ray"),
        ("data/video.py", "import learner.objective"),
        ("actors/worker.py", "import learner"),
        ("learner/objective.py", "import deepspeed"),
        ("learner/objective.py", "import cluster"),
        ("cluster/config.py", "import cluster.runtime"),
        ("cluster/attic.py", ""),  # a room that is in no layer
    ],
)
def test_an_import_against_the_arrows_is_caught(tmp_path: Path, module: str, line: str) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "learner" / "objective.py").touch()
    for room in rooms():
        (tmp_path / "cluster" / f"{room}.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / module).write_text(f"{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


def test_imports_of_the_project_keep_to_the_arrows() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_commands_of_the_documents_exist(document: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(code_of(document))))
    assert named
    assert named <= make_targets()


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_files_named_in_the_documents_exist(document: str) -> None:
    named = set(
        re.findall(
            r"(?<![\w./$}-])(?:actors|benchmarks|cluster|configs|data|docker|docs|learner|rewards|scripts|tests)/[\w./-]*\w",
            (ROOT / document).read_text(),
        )
    )
    assert [name for name in named - MADE_BY_READERS if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_links_of_the_documents_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, *PAGES])
def test_modules_run_by_the_documents_exist(document: str) -> None:
    own = "|".join((*PACKAGES, "benchmarks"))
    modules = re.findall(rf"python -m ((?:{own})\.[\w.]*\w)", (ROOT / document).read_text())
    assert [name for name in modules if find_spec(name) is None] == []


def code_of(document: str) -> list[str]:
    """What stands in backticks, inline or fenced."""
    text = (ROOT / document).read_text()
    return re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) + re.findall(r"`([^`\n]+)`", text)


def test_ci_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"
    commands = [line for line in script.read_text().splitlines() if line.startswith("exec ")]
    assert commands == ["exec make test"]
    assert script.stat().st_mode & 0o111


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


def declared() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    return [
        Requirement(line) for line in project["dependencies"] + extras + PROJECT["build-system"]["requires"]
    ]


def test_every_declared_dependency_is_pinned_within_its_range() -> None:
    versions = pins()
    wrong = [
        str(line)
        for line in declared()
        if not line.specifier.contains(versions.get(canonicalize_name(line.name), "0"))
    ]
    assert wrong == []


def test_no_pin_carries_a_build_tag() -> None:
    assert [name for name, version in pins().items() if Version(version).local] == []


def installed_closure(root: str, extras: set[str]) -> dict[str, str]:
    """Name -> version of everything installed that `root` with `extras` needs, directly or not."""
    found: dict[str, str] = {}
    waiting = [(root, frozenset(extras))]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            package = distribution(name)
        except PackageNotFoundError:  # mended away
            continue
        found[canonicalize_name(name)] = package.version
        for line in package.requires or []:
            requirement = Requirement(line)
            environments = [{"extra": extra} for extra in wanted | {""}]
            if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def test_the_environment_is_the_pinned_one() -> None:
    if not (Path(sys.prefix) / "zoetrope-stamp").exists():
        pytest.skip("not an environment that `make setup` made")
    extra = (Path(sys.prefix) / "zoetrope-stamp").read_text().split()[0]
    versions = pins()
    found = installed_closure("zoetrope", {extra, "dev"})
    found.pop("zoetrope")
    assert len(found) > 100
    assert {
        name: version for name, version in found.items() if Version(version).public != versions.get(name)
    } == {}


def test_no_file_names_a_place_on_one_machine() -> None:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    place = re.compile(r"(?<![\w.$}*-])/(?:work|opt|root|home)/\w")
    files = [name for name in listing.stdout.splitlines() if not name.startswith("docker/")]
    texts = {name: (ROOT / name).read_text(errors="replace") for name in files if (ROOT / name).is_file()}
    assert [name for name, text in texts.items() if place.search(text)] == []


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_dockerfiles_pass_hadolint(image: str) -> None:
    result = subprocess.run(
        [tool("hadolint"), "--no-color", f"docker/Dockerfile.{image}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_dockerfiles_install_the_pinned_set(image: str) -> None:
    text = (ROOT / "docker" / f"Dockerfile.{image}").read_text()
    assert "-c constraints.txt" in text
    assert "scripts/mend_environment.py" in text


@pytest.mark.parametrize("image", ["cpu", "cuda"])
def test_an_image_runs_as_whoever_owns_the_mounted_folder(image: str) -> None:
    text = (ROOT / "docker" / f"Dockerfile.{image}").read_text()
    assert '--user "$(id -u):$(id -g)" -v "$PWD/runs:/zoetrope/runs"' in text
    home = re.search(r"^ENV HOME=(\S+)", text, flags=re.MULTILINE)
    assert home
    assert f"chmod 1777 {home[1]} " in text
