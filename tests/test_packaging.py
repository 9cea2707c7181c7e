"""What is declared is what is used, and what README says holds where a package index shows it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: Where a module is not called after the distribution that brings it.
DISTRIBUTION = {"PIL": "pillow", "scvi": "scvi-tools", "sklearn": "scikit-learn"}
#: Functions that import what they are given the name of.
LATE = {"_optional", "import_module", "import_scib", "importorskip"}
#: Declared although no file imports it, and why.
NOT_IMPORTED = {
    "igraph": "scanpy's leiden and paga need it and do not bring it",
    "mypy": "a command",
    "pandas-stubs": "mypy reads them",
    "pytest-xdist": "pytest -n auto",
    "distributed": "a scheduler of dask, which whoever calls names",
    "ruff": "a command",
    "tabulate": "DataFrame.to_markdown, which the benchmarks call, needs it and does not bring it",
}
USERS = ("dask", "metrics", "report")


def declared(*extras: str) -> set[str]:
    """Distributions that are installed with the package and these extras."""
    lines = PROJECT["dependencies"] + [line for extra in extras for line in PROJECT["optional-dependencies"][extra]]
    names: set[str] = set()
    for line in lines:
        name, *nested = re.findall(r"[\w-]+", re.split(r"[<>=;]", line)[0])
        names |= declared(*nested) if name == "scdart" else {name}
    return names


def modules(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that a file imports, at its top or later."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=name, level=0):
                yield name
            case ast.Call(
                func=ast.Name(id=function) | ast.Attribute(attr=function), args=[ast.Constant(value=name), *_]
            ) if function in LATE:
                yield name
            case ast.FunctionDef(name=function, args=ast.arguments(defaults=[ast.Constant(value=name)])) if (
                function in LATE
            ):
                yield name


def imported(folder: str) -> set[str]:
    """Distributions of the modules that the files of a folder import."""
    # The folders within the benchmarks hold what is installed and found there.
    files = sorted((ROOT / folder).glob("*.py" if folder == "benchmarks" else "**/*.py"))
    names = {name.partition(".")[0] for file in files for name in modules(ast.parse(file.read_text(encoding="utf-8")))}
    own = {"scdart", *(file.stem for file in (ROOT / "benchmarks").glob("*.py"))}
    return {DISTRIBUTION.get(name, name.replace("_", "-")) for name in names - own - sys.stdlib_module_names}


def in_environments() -> set[str]:
    """Distributions that the benchmarks install in environments of their own."""
    table = (ROOT / "benchmarks" / "_environments.py").read_text(encoding="utf-8")
    return set(re.findall(r'"([\w-]+)(?:\[\w+\])?==', table))


@pytest.mark.parametrize(
    ("folder", "extras"), [("src", USERS), ("tests", ("test", "docs", "benchmarks")), ("benchmarks", ("benchmarks",))]
)
def test_what_is_imported_is_declared(folder, extras):
    peers = in_environments() if "benchmarks" in extras else set()
    assert imported(folder) - declared(*extras) - peers == set()


def test_what_is_declared_is_imported():
    unused = (declared(*USERS) - imported("src")) | (declared("test") - declared(*USERS) - imported("tests"))
    assert unused == NOT_IMPORTED.keys()


def test_no_message_takes_the_package_for_published():
    """What it names can be installed: until there is a release, an index has no scdart."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    wrong = re.compile(r"pip install [^`\n&]*\bscdart\b")
    assert [str(file) for file in files if wrong.search(file.read_text(encoding="utf-8"))] == []


def test_readme_refers_to_what_exists_by_whole_addresses():
    """A package index shows README by itself; here each address is that of a file."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    site, source = PROJECT["urls"]["Documentation"], PROJECT["urls"]["Source"]
    raw = source.replace("//github.com", "//raw.githubusercontent.com")
    places = {f"{site}tutorials/": "tutorials/", site: "docs/", f"{source}/blob/main/": "", f"{raw}/main/": ""}
    addresses = re.findall(r"\]\(([^)]+)\)", readme)
    assert [address for address in addresses if not address.startswith("https://")] == []
    files = []
    for address in addresses:
        if place := next(filter(address.startswith, places), None):
            files.append(places[place] + address.removeprefix(place).replace(".html", ".md"))
    assert {"docs/_static/demo.png", "docs/faq.md", "tutorials/index.md", "CITATION.cff"} <= set(files)
    assert [file for file in files if not (ROOT / file).is_file()] == []
