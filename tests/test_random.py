"""``random_state=None`` means the same everywhere."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest
import scvi

import scdart
from scdart._random import seed_of


def test_own_seed_then_that_of_scvi_tools_then_0():
    scvi.settings.seed = 5
    assert (seed_of(3), seed_of(0), seed_of(None)) == (3, 0, 5)
    scvi.settings.seed = None
    assert (seed_of(3), seed_of(None)) == (3, 0)


def test_scvi_tools_is_not_imported_for_it():
    code = "import sys; from scdart._random import seed_of; print(seed_of(None), 'scvi' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.split() == ["0", "False"]


def functions() -> dict[str, object]:
    packages = [getattr(scdart, name) for name in ("pp", "tl", "pl", "metrics", "datasets", "model")]
    public = {f"{package.__name__}.{name}": getattr(package, name) for package in packages for name in package.__all__}
    methods = {
        f"{name}.{method}": function
        for name, cls in public.items()
        if inspect.isclass(cls)
        for method, function in inspect.getmembers(cls, inspect.isfunction)
        if function.__module__.startswith("scdart")
    }
    return public | methods


@pytest.mark.parametrize("name", functions())
def test_default_is_none(name):
    function = functions()[name]
    parameters = inspect.signature(function).parameters if callable(function) else {}
    if "random_state" in parameters:
        assert parameters["random_state"].default is None
