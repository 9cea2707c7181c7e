"""Files of saved models are looked into before they are loaded, since a pickle may run any code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from pathlib import Path

#: What files may name beside tensors and plain Python: arrays and tables, as numpy 1 and 2 and pandas 2 and 3, with and
#: without pyarrow, write them. None of these calls what it is given, or opens files.
_SAFE: Final = (
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.slice",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"pandas.{name}" for name in ("DataFrame", "Index", "RangeIndex", "Series", "StringDtype")),
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked",
    "pandas._libs.internals._unpickle_block",
    "pandas.arrays.ArrowStringArray",
    "pandas.arrays.StringArray",
    "pandas.core.frame.DataFrame",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.core.internals.managers.BlockManager",
    "pandas.core.internals.managers.SingleBlockManager",
    "pandas.core.series.Series",
    *(f"pyarrow.lib.{name}" for name in ("_restore_array", "py_buffer", "type_for_alias")),
)

#: How torch names what it refuses, in its several messages.
_REFUSED: Final = re.compile(r"GLOBAL ([\w.]+)|(?:unrecognized function|but got) (.+)")


class _StandIn:
    """Takes the place of an array or a table, of which only the name matters."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _plain(_: Any = None, *__: Any) -> dict[Any, Any]:
    """Take the place of a ``defaultdict``, which torch does not fill."""
    return {}


def check_harmless(path: Path, what: str) -> dict[str, Any]:
    """Raise unless a file of :func:`torch.save` holds nothing but tensors, arrays, tables and plain Python.

    The same bytes then name nothing else when they are loaded without this care. Arrays and tables are not made here,
    so that it does not matter which versions of numpy and pandas wrote them.

    Parameters
    ----------
    path
        The file.
    what
        What it should be, for messages.

    Returns
    -------
    Its content, with something else in place of arrays and tables.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is damaged, or names anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name the folder (and the prefix, if any) that holds {what}.")
    safe: list[Any] = [(_StandIn, name) for name in _SAFE]
    safe += [(_plain, "builtins.dict"), (_plain, "collections.defaultdict")]
    try:
        with torch.serialization.safe_globals(safe):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what a damaged file raises depends on how it is damaged
        if refused := _REFUSED.search(str(error)):
            raise ValueError(
                f"{path} was not loaded: it names {refused[1] or refused[2]!r}, as {what} of scdart does not, and "
                "loading it may run any code. If you know who made it, pass trust=True."
            ) from error
        raise ValueError(f"{path} cannot be read as {what}: it is damaged, or another kind of file.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} cannot be read as {what}: it holds a {type(content).__name__}.")
    return content
