"""Options of public functions, checked before any work.

The signature says of which type an option is, and its name in which range: one line, ``check_options(f, locals())``, as
the first of a function checks all of them. What is no plain value, such as data, is checked by who reads it.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sized
from functools import cache
from inspect import signature
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


#: More than there ever are of anything, and less than what overflows somewhere below.
_MANY: Final = 1_000_000_000


class Range(NamedTuple):
    """What a number may be.

    Attributes
    ----------
    least, most
        Bounds, which belong to the range.
    above
        Whether the lower bound does not.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return self.least <= value <= self.most and not (self.above and value == self.least)

    def __str__(self) -> str:
        bounds = []
        if self.least > -math.inf:
            bounds.append(f"{'more than' if self.above else 'at least'} {self.least:,}")
        if self.most < _MANY:
            bounds.append(f"at most {self.most:,}")
        return " of " + " and ".join(bounds) if bounds else ""


#: Ranges that are not those of the names in some functions.
SEVERAL: Final = Range(2, _MANY)
NOT_NEGATIVE: Final = Range(0)

_COUNT, _COUNT_OR_NONE, _ANY = Range(1, _MANY), Range(0, _MANY), Range()
_SHARE, _PART = Range(0, 1), Range(0, 1, above=True)
_SIZE = Range(0, above=True)

#: Ranges of options by name. An upper bound is what more of makes no sense, and would not end or fit into memory.
RANGES: Final[Mapping[str, Range]] = {
    **dict.fromkeys(("n_neighbors", "n_features", "n_clusters", "n_blocks", "k", "min_cells", "min_peaks"), _COUNT),
    **dict.fromkeys(("max_cells", "peak_block", "n_batches_rna", "n_batches_atac"), _COUNT),
    **dict.fromkeys(("n_rna_batches", "n_atac_batches", "n_genes", "n_peaks", "n_evf"), _COUNT),
    **dict.fromkeys(
        ("upstream", "downstream", "n_links", "n_off_prior", "device", "n_de", "n_accessibility_components"),
        _COUNT_OR_NONE,
    ),
    **dict.fromkeys(("threshold", "min_confidence", "static_genes", "negative_links", "atac_effect"), _SHARE),
    **dict.fromkeys(("prior_precision", "prior_recall", "peak_capture", "peak_density", "train_size"), _PART),
    **dict.fromkeys(("decay", "size", "sequencing_depth", "lr", "eps", "distance_spread"), _SIZE),
    **dict.fromkeys(("min_value", "sigma", "batch_effect", "weight_decay"), NOT_NEGATIVE),
    **dict.fromkeys(("vmin", "vmax"), _ANY),
    "n_latent": Range(1, 1000),
    "n_models": Range(1, 1000),
    "t": Range(0, 10_000),
    "n_components": Range(1, 10_000),
    "n_pcs": Range(2, 10_000),
    "n_comps": Range(3, 1000),
    "n_points": Range(2, 100_000),
    "n_pairs": Range(2, 100_000_000),
    "df": Range(1, 100),
    "ncols": Range(1, 100),
    "max_epochs": Range(1, 1_000_000),
    "n_steps": Range(0, 1_000_000),
    "batch_size": Range(1, 1_000_000),
    "activity_hidden": Range(1, 100_000),
    "projection_hidden": Range(1, 100_000),
    "dropout": Range(0, 0.99),
    "validation_size": Range(0, 0.99),
    "resolution": Range(0, 1000, above=True),
    "random_state": Range(0, 2**32 - 1),
}

#: Texts that may be empty: they are no names.
_MAY_BE_EMPTY: Final = ("prefix", "title")

#: Names of slots to write: in a file, a slash would put them into a folder of their own.
_SLOTS: Final = ("key_added",)

#: Rows that may also be told by a mask.
_MAY_BE_MASKS: Final = ("indices",)


def check_options(function: Callable[..., Any], given: Mapping[str, Any], **ranges: Range) -> None:
    """Raise unless the options of a function are of the type that its signature says, and in their range.

    Parameters
    ----------
    function
        Whose signature it is.
    given
        Values by name; others than options do not matter, so that it can be ``locals()``.
    **ranges
        Ranges by name, where they are not those of :data:`RANGES`.

    Raises
    ------
    ValueError
        With the name of the option, its value, and what is allowed.

    Examples
    --------
    >>> from scdart._options import Range, check_options
    >>> def nearest(data, n_neighbors: int = 5, key: str | None = None):
    ...     check_options(nearest, locals(), n_neighbors=Range(1, 100))
    >>> nearest([], n_neighbors=7)
    >>> nearest([], n_neighbors=0)
    Traceback (most recent call last):
    ValueError: n_neighbors=0 must be a whole number of at least 1 and at most 100.
    """
    for name, kinds in kinds_of_options(function).items():
        if name in given:
            _check(name, given[name], kinds, ranges.get(name, RANGES.get(name)))


def check_number(name: str, value: object, within: Range) -> None:
    """Raise unless an option that is in no signature is a number in its range."""
    _check(name, value, ("float",), within)


@cache
def kinds_of_options(function: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """Get the kinds of plain values that each option may be, as the signature writes them."""
    named = {n: p for n, p in signature(function).parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    kinds = {name: _alternatives(parameter.annotation) for name, parameter in named.items()}
    return {name: found for name, found in kinds.items() if all(map(_is_plain, found))}


def _alternatives(annotation: Any) -> tuple[str, ...]:
    if not isinstance(annotation, str):
        return ("",)  # not annotated
    return tuple(part.strip() for part in re.split(r"\|(?![^\[]*\])", annotation))


def _is_plain(kind: str) -> bool:
    return kind in _KINDS or kind.startswith("Literal[")


def _check(name: str, value: object, kinds: tuple[str, ...], within: Range | None) -> None:
    if any(_fits(name, value, kind, within) for kind in kinds):
        return
    choices = [choice for kind in kinds if kind.startswith("Literal[") for choice in _choices(kind)]
    words = [_KINDS[kind][1] + (str(within or "") if kind in _NUMBERS else "") for kind in kinds if kind in _KINDS]
    if name in _SLOTS and isinstance(value, str):
        words = ["a text that is not empty, and without '/'"]
    if name == "cmap":
        words = ["the name of a colormap of matplotlib"]
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
    if choices:
        raise ValueError(f"{name}={shown} is not known: use " + " or ".join([f"one of {choices}", *words]) + ".")
    raise ValueError(f"{name}={shown} must be " + ", or ".join(words) + ".")


def _fits(name: str, value: object, kind: str, within: Range | None) -> bool:
    if kind.startswith("Literal["):
        return isinstance(value, str) and value in _choices(kind)
    if kind == "str" and isinstance(value, str) and not value:
        return name in _MAY_BE_EMPTY
    if name in _SLOTS and isinstance(value, str) and "/" in value:
        return False
    if name in _MAY_BE_MASKS and _is_mask(value):
        return True
    if name == "cmap":
        return isinstance(value, str) and value in _colormaps()
    fits = _KINDS[kind][0](value)
    if not fits or within is None or kind not in _NUMBERS:
        return fits
    return all(number in within for number in np.atleast_1d(np.asarray(value)).tolist())


def _colormaps() -> Collection[str]:
    from matplotlib import colormaps  # which only plots need

    return colormaps


def _choices(kind: str) -> tuple[str, ...]:
    return ast.literal_eval(f"({kind.removeprefix('Literal[').removesuffix(']')},)")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _are_whole(values: object) -> bool:
    array = np.asarray(values) if isinstance(values, Sized | Integral) and not isinstance(values, str) else None
    return array is not None and array.ndim < 2 and array.size > 0 and array.dtype.kind in "iu"


def _is_mask(values: object) -> bool:
    return isinstance(values, Sized) and not isinstance(values, str) and np.asarray(values).dtype.kind == "b"


def _are_names(values: object) -> bool:
    if isinstance(values, str | bytes | Mapping) or not (isinstance(values, Iterable) and isinstance(values, Sized)):
        return False
    return all(isinstance(value, str) for value in values)


#: How a kind of value is told, and what it is called.
_KINDS: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool | np.bool_), "True or False"),
    "str": (lambda value: isinstance(value, str), "a text that is not empty"),
    **dict.fromkeys(("PathLike", "PathLike[str]", "os.PathLike[str]"), (lambda v: isinstance(v, PathLike), "a path")),
    "None": (lambda value: value is None, "None"),
    "Sequence[str]": (_are_names, "names"),
    "Sequence[int]": (_are_whole, "whole numbers"),
    "dict": (lambda value: isinstance(value, dict), "a dictionary"),
    "dict[str, Any]": (lambda value: isinstance(value, dict), "a dictionary"),
    "dict[str, str]": (lambda value: isinstance(value, dict), "a dictionary"),
    "Mapping[str, str]": (lambda value: isinstance(value, Mapping), "a dictionary"),
}
_NUMBERS: Final = ("int", "float", "Sequence[int]")
