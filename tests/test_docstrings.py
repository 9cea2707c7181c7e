"""Every public name is documented, and every example in a docstring runs."""

from __future__ import annotations

import doctest
import inspect
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import scdart
from scdart._docs import TEXTS, fill_in_docs

#: What continuous integration runs where nothing but the package is installed.
RUNNER = runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci" / "examples.py"))


def public_objects() -> dict[str, object]:
    subpackages = [getattr(scdart, name) for name in scdart.__all__]
    return {f"{package.__name__}.{name}": getattr(package, name) for package in subpackages for name in package.__all__}


@pytest.mark.parametrize("example", RUNNER["examples"]("scdart"), ids=lambda example: example.name)
def test_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if report := RUNNER["failures"](example):
            pytest.fail(report, pytrace=False)


def test_example_that_is_wrong_fails():
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "sum", None, 0)
    assert "Expected:\n    3\nGot:\n    2\n" in RUNNER["failures"](wrong)


def test_every_public_name_is_documented():
    assert not [name for name, value in public_objects().items() if callable(value) and not inspect.getdoc(value)]


def test_every_public_function_has_an_example():
    functions = {name: value for name, value in public_objects().items() if inspect.isfunction(value)}
    assert not [name for name, function in functions.items() if ">>>" not in inspect.getdoc(function)]


def test_shared_texts_are_filled_in():
    assert not [name for name, value in public_objects().items() if ")s\n" in (inspect.getdoc(value) or "")]
    docs = inspect.getdoc(scdart.pl.latent)
    assert "\nsize\n    Area of a point in square points; by default it follows the number of cells.\n" in docs


def test_shared_texts_are_as_deep_as_their_placeholder():
    def draw(size): ...

    draw.__doc__ = "Draw.\n\n        %(size)s\n        At 95 %(not a placeholder)s."
    assert fill_in_docs(draw) is draw
    name, text = TEXTS["size"].split("\n")
    indent = 8 * " "
    assert draw.__doc__ == f"Draw.\n\n{indent}{name}\n{indent}{text}\n{indent}At 95 %(not a placeholder)s."
    draw.__doc__ = "%(sizes)s"
    with pytest.raises(KeyError, match="sizes"):
        fill_in_docs(draw)


def test_every_shared_text_is_used_more_than_once():
    sources = "".join(path.read_text() for path in Path(scdart.__file__).parent.rglob("*.py"))
    assert not [name for name in TEXTS if sources.count(f"%({name})s") < 2]


def test_docstrings_can_be_left_out():
    code = """
from scdart._docs import fill_in_docs

@fill_in_docs
def draw(size):
    "%(size)s"

print(draw.__doc__)
"""
    left = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=False)
    assert left.stdout.strip() == "None", left.stderr
