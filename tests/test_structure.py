"""How the package is built: what may import what, and how large files and folders may be."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import scdart

ROOT = Path(scdart.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(("scdart", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def runs_only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(tree: ast.AST, *, types: bool, deferred: bool) -> list[ast.AST]:
    """Statements of a file, with those for type checkers and those in functions if asked for."""
    found, queue = [], [tree]
    while queue:
        node = queue.pop()
        found.append(node)
        for child in ast.iter_child_nodes(node):
            if runs_only_for_types(child) and not types:
                continue
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not deferred:
                continue
            queue.append(child)
    return found


def imports(name: str, *, types: bool, deferred: bool) -> set[str]:
    """Modules of the package that a module imports, by their full names."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), types=types, deferred=deferred):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import module` imports the module; `from module import name` what the name stands for.
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return {imported for imported in found if imported in MODULES} - {name}


def is_foreign(importing: str, imported: str) -> bool:
    """Whether a module is private to a subpackage that the importing one is not part of."""
    parts = imported.split(".")
    for depth, part in enumerate(parts[2:], 2):  # private modules of the package itself are for all
        if part.startswith("_"):
            return importing.split(".")[:depth] != parts[:depth]
    return False


@pytest.mark.parametrize("name", MODULES)
def test_private_modules_stay_in_their_subpackage(name):
    assert not [imported for imported in imports(name, types=True, deferred=True) if is_foreign(name, imported)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_can_be_read_at_once(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_no_module_imports_itself_through_others():
    graph = {name: imports(name, types=False, deferred=False) for name in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_are_found():
    assert "scdart.tl._cells" in imports("scdart.tl._transfer", types=False, deferred=False)
    assert imports("scdart._demo", types=False, deferred=False) >= {"scdart.pl", "scdart.model", "scdart._constants"}


def test_first_level_of_tl_can_be_overlooked():
    entries = [path for path in (ROOT / "tl").iterdir() if path.name not in ("__init__.py", "__pycache__")]
    assert len(entries) <= 14
