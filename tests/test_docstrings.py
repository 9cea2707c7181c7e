"""Every public name is documented, and every example in a docstring runs."""

from __future__ import annotations

import doctest
import inspect
import runpy
import warnings
from pathlib import Path

import pytest

import scdart

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
