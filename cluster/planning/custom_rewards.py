"""Whether a reward function of the user's own is there, found by looking: no code of the configuration is run.

An import runs a module from its first line to its last, and its parent packages before it. Importers are asked where a
module lies, which runs none of it, and its source is read.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import SOURCE_SUFFIXES, ModuleSpec
from pathlib import Path


def custom_reward_problem(task: str, path: str) -> str | None:
    """Why a dotted path seems to lead to no function, as far as can be seen; None where it may well.

    What only running the module tells, a name that it computes for instance, is left to the start of a run.
    """
    *parents, name = path.split(".")
    if not parents or not all(part.isidentifier() for part in (*parents, name)):
        return f"reward.custom.{task}: {path!r} is not of the form package.module.function"
    found = _find(parents)
    if isinstance(found, str):
        return f"reward.custom.{task}: {path!r}: there is no module {found!r}"
    if found.origin is None or not found.origin.endswith(tuple(SOURCE_SUFFIXES)):
        return None
    try:
        tree = ast.parse(Path(found.origin).read_bytes())
    # MemoryError: Python's parser says so of what is nested too deeply.
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        return f"reward.custom.{task}: {path!r}: {found.origin} cannot be read: {reason}"
    if _may_define(tree.body, name):
        return None
    return f"reward.custom.{task}: {path!r}: {found.origin} defines no {name!r}"


def _find(parts: Sequence[str]) -> ModuleSpec | str:
    """Where a module is, or the dotted name of the first part that is not there."""
    within: Sequence[str] | None = None  # everywhere
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        spec = _spec(name, within)
        if spec is None:
            return name
        within = spec.submodule_search_locations or ()
    assert spec is not None
    return spec


def _spec(name: str, within: Sequence[str] | None) -> ModuleSpec | None:
    imported = getattr(sys.modules.get(name), "__spec__", None)
    if imported is not None:
        return imported
    # Not `importlib.util.find_spec`, which imports the parents. Editable installs have finders of their own.
    for finder in sys.meta_path:
        try:
            if spec := finder.find_spec(name, within, None):
                return spec
        except KeyError:
            # A folder without `__init__.py` inside another: Python looks for the outer one among what is imported.
            return _folders(name, within or ())
    return None


def _folders(name: str, within: Sequence[str]) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    places = (Path(place) / name.rpartition(".")[2] for place in within)
    spec.submodule_search_locations = [str(place) for place in places if place.is_dir()]
    return spec


def _may_define(body: Sequence[ast.stmt], name: str) -> bool:
    """Whether statements bind a name, or may: by a star import, or by a module's own `__getattr__`."""
    return any(bound in (name, "*", "__getattr__") for statement in body for bound in _bound(statement))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement at the top of a module binds; every name that is assigned to inside one."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
        return
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt):
            yield from _bound(node)
        elif isinstance(node, ast.ExceptHandler | ast.match_case):
            yield from (name for inner in node.body for name in _bound(inner))
        else:
            names = (one for one in ast.walk(node) if isinstance(one, ast.Name))
            yield from (one.id for one in names if isinstance(one.ctx, ast.Store))
