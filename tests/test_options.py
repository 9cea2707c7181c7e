"""Options of every public function are refused before any work, with their name, if they are of no use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence  # noqa: TC003  # signatures are read
from functools import partial
from typing import Literal

import numpy as np
import pytest

from scdart import datasets, metrics, model, pl, pp, tl
from scdart._options import RANGES, Range, check_number, check_options, kinds_of_options
from scdart.model import SCDART, SCDARTTrainingPlan
from scdart.module import SCDARTModule

NUMBERS = {"int", "float", "Sequence[int]"}


def public_functions():
    """Functions that users call, by name, as far as they have options that are plain values."""
    found = {
        f"{space.__name__}.{name}": getattr(space, name)
        for space in (pp, tl, pl, metrics, datasets)
        for name in space.__all__
    }
    found |= {f"SCDART.{name}": inspect.getattr_static(SCDART, name) for name in dir(SCDART) if name[0] != "_"}
    found |= {f"{cls.__name__}.__init__": cls.__init__ for cls in (SCDART, SCDARTTrainingPlan, SCDARTModule)}
    found = {name: getattr(function, "__func__", function) for name, function in found.items()}
    return {
        name: function
        for name, function in found.items()
        if inspect.isfunction(function)
        and inspect.unwrap(function).__module__.startswith("scdart.")
        and kinds_of_options(function)
    }


FUNCTIONS = public_functions()


def odd_values(kinds, within):
    """Values that an option of these kinds cannot have."""
    odd = [object(), b"bytes", float("nan"), float("inf"), -float("inf"), {1, 2}, np.array([[0.5]]), [None]]
    if within is not None:
        odd += [within.least - 1, within.most + 1] if np.isfinite([within.least, within.most]).all() else []
        odd += [within.least - 1] if np.isfinite(within.least) else []
        odd += [within.least] if within.above else []
    if not set(kinds) & {"float"}:
        odd += [0.5, 1e9]
    if not set(kinds) & NUMBERS:
        odd += [7, -1, 10**30]
    if "bool" not in kinds:
        odd += [True, np.True_]
    if "str" not in kinds and "Sequence[str]" not in kinds:
        odd += ["3", ""]
    if any(kind.startswith("Literal") for kind in kinds):
        odd += ["nonsense"]
    if "None" not in kinds:
        odd += [None]
    return odd


def test_there_are_functions_to_test():
    assert len(FUNCTIONS) > 50
    assert {"scdart.pp.anchors", "scdart.tl.integrate", "SCDART.train", "SCDART.setup_mudata"} <= FUNCTIONS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_odd_values_are_refused_before_any_work(name):
    function = FUNCTIONS[name]
    # What is no option is no data either, and would be an error of another kind if it were looked at.
    others = {
        option: None if parameter.default is parameter.empty else parameter.default
        for option, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    named = {option: "some" for option, kinds in kinds_of_options(function).items() if "None" not in kinds}
    for option in named:
        others[option] = others[option] if others[option] is not None else sound(option, function)
    for option, kinds in kinds_of_options(function).items():
        for value in odd_values(kinds, RANGES.get(option)):
            with pytest.raises(ValueError, match=rf"^{option}=") as error:
                function(**{**others, option: value})
            assert re.search("must be|is not known: use", str(error.value)), value


def sound(option, function):
    """A value that an option without a default may have."""
    kinds = kinds_of_options(function)[option]
    if "str" in kinds:
        return "some"
    if "int" in kinds:
        return int(RANGES[option].least)
    raise AssertionError(f"give {option} of {function} a value here")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numbers_have_a_range(name):
    for option, kinds in kinds_of_options(FUNCTIONS[name]).items():
        if set(kinds) & {"int", "float"}:
            assert option in RANGES, option


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_allowed(name):
    function = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters.values()
    check_options(function, {p.name: p.default for p in parameters if p.default is not p.empty})


def example(
    data,
    count: int = 1,
    share: float = 0.5,
    flag: bool = False,
    key: str | None = None,
    steps: Sequence[int] = (1,),
    names: Sequence[str] = (),
    kind: Literal["a", "b"] | bool = "a",
): ...


RANGES_OF_EXAMPLE = {"count": Range(1, 10), "share": Range(0, 1, above=True), "steps": Range(0, 10)}


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("count", [1, np.int64(10), np.uint8(3)]),
        ("share", [1, 0.1, np.float32(0.5), np.int64(1)]),
        ("flag", [True, np.False_]),
        ("key", ["a", np.str_("b"), None]),
        ("steps", [(0, 5), [3], np.array([1, 2]), range(3), 4]),
        ("names", [(), ["a"], np.array(["a"]), {"a": 1}.keys()]),
        ("kind", ["a", True]),
        ("data", [object()]),
    ],
)
def test_sound_values(option, values):
    for value in values:
        check_options(example, {option: value}, **RANGES_OF_EXAMPLE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 0}, "count=0 must be a whole number of at least 1 and at most 10."),
        ({"share": 0}, "share=0 must be a number of more than 0 and at most 1."),
        ({"flag": 1}, "flag=1 must be True or False."),
        ({"key": 3}, "key=3 must be a text that is not empty, or None."),
        ({"steps": ()}, "steps=() must be whole numbers of at least 0 and at most 10."),
        ({"steps": [1, 11]}, "steps=[1, 11] must be whole numbers"),
        ({"steps": 2.5}, "steps=2.5 must be whole numbers"),
        ({"names": "abc"}, "names='abc' must be names."),
        ({"kind": "c"}, "kind='c' is not known: use one of ['a', 'b'] or True or False."),
        ({"count": "x" * 100}, "count='" + "x" * 59 + "... must be"),
    ],
)
def test_messages_name_option_value_and_what_is_allowed(given, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        check_options(example, given, **RANGES_OF_EXAMPLE)


def test_slots_are_written_to_no_folder_of_a_file():
    with pytest.raises(ValueError, match="^key_added='X/a' must be a text that is not empty, and without '/'"):
        tl.integrate(None, key_added="X/a")


def test_numbers_that_are_in_no_signature():
    check_number("pair", 0.5, Range(0))
    with pytest.raises(ValueError, match="pair=nan must be a number of at least 0"):
        check_number("pair", float("nan"), Range(0))


def test_options_of_training_are_checked_with_it():
    for options, name in (
        ({"batch_size": 1}, "batch_size=1"),
        ({"plan_kwargs": {"lr": -1.0}}, "lr=-1.0"),
        ({"plan_kwargs": {"pair": np.inf}}, "pair=inf"),
        ({"precision": "16-mixed"}, "precision='16-mixed'"),
    ):
        for train in (partial(tl.integrate, None, train_kwargs=options), partial(model.SCDART.train, None, **options)):
            with pytest.raises(ValueError, match=f"^{name}(:| must be)"):
                train()
