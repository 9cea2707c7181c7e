"""Every public name is documented, and every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import warnings

import pytest

import scdart


class OutputChecker(doctest.OutputChecker):
    """An example that states no result may print: training shows its progress."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return not want or super().check_output(want, got, optionflags)


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(info.name) for info in pkgutil.walk_packages(scdart.__path__, "scdart.")]
    return [test for module in modules for test in finder.find(module) if test.examples]


def public_objects() -> dict[str, object]:
    subpackages = [getattr(scdart, name) for name in scdart.__all__]
    return {f"{package.__name__}.{name}": getattr(package, name) for package in subpackages for name in package.__all__}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example_runs(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(OutputChecker(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner.run(example, out=report.append)
    if report:
        pytest.fail("".join(report), pytrace=False)


def test_every_public_name_is_documented():
    assert not [name for name, value in public_objects().items() if callable(value) and not inspect.getdoc(value)]


def test_every_public_function_has_an_example():
    functions = {name: value for name, value in public_objects().items() if inspect.isfunction(value)}
    assert not [name for name, function in functions.items() if ">>>" not in inspect.getdoc(function)]
