"""How cells of a MuData are numbered and what its ``obs`` say of them, in all versions of mudata that are supported."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

import mudata
import numpy as np
import pandas as pd
from scipy import sparse

from scdart._checks import check_up_to_date
from scdart._chunks import columns_of
from scdart._process import root_logger_kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData
    from mudata import MuData

    Data = TypeVar("Data", MuData, AnnData)


@contextmanager
def columns_stay() -> Iterator[None]:
    """Let a new MuData leave the columns of ``obs`` and ``var`` in its modalities, as mudata does from 0.4 on."""
    if not hasattr(mudata, "set_options"):
        yield
        return
    options = mudata.set_options(pull_on_update=False)
    with ExitStack() as stack:
        with root_logger_kept():  # mudata logs by the root logger that its options change
            stack.enter_context(options)
        try:
            yield
        finally:
            with root_logger_kept():
                stack.close()


def own_copy(data: Data) -> Data:
    """Copy data, and leave the columns of ``obs`` and ``var`` where they are."""
    with columns_stay():
        return data.copy()


def modality_rows(mdata: MuData, modality: str) -> np.ndarray:
    """Row of every cell of ``mdata.obs_names`` in the modality, -1 where the cell was not measured in it."""
    return mdata.obsmap[modality].astype(np.int64).ravel() - 1


def positions(mdata: MuData, modality: str) -> np.ndarray:
    """Position in ``mdata.obs_names`` of every cell of a modality, in the order of the modality."""
    rows = modality_rows(mdata, modality)
    present = np.flatnonzero(rows >= 0)
    return present[np.argsort(rows[present])]


def feature_values(adata: AnnData, feature: str, *, layer: str | None = None) -> np.ndarray:
    """Values of one feature in all cells; ``AnnData.obs_vector``, which does the same, is deprecated from 0.13 on."""
    matrix = adata.X if layer is None else adata.layers[layer]
    values = columns_of(matrix, [adata.var_names.get_loc(feature)])
    return np.asarray(values.toarray() if sparse.issparse(values) else values).ravel()


def obs_column(mdata: MuData, key: str, argument: str, *, mod: str | None = None) -> pd.Series:
    """Get a column of ``obs``, by the one rule that all functions follow.

    1. ``"rna:label"`` is the column ``label`` of the modality ``rna``.
    2. Any other name is the column of ``mdata.obs``, if it has one: it speaks of all cells, as in muon.
    3. Else it is that of the modalities. A cell has the value of the first that knows it: ``mod``, if it is given,
       then the others in their order.

    The first comes before the second, since mudata before 0.4 copies columns of the modalities to ``mdata.obs``, as
    ``"rna:label"``, and the copies stay as they are when the modality changes.

    Parameters
    ----------
    mdata
        Annotated data.
    key
        Name of the column.
    argument
        The argument that named it, for the message.
    mod
        Modality whose cells are asked for; ``None`` takes all cells of ``mdata``.

    Returns
    -------
    The values, named by the cells; missing where nothing is known.

    Raises
    ------
    KeyError
        No ``obs`` has the column.
    ValueError
        One has several columns of this name.
    """
    if mod is not None:
        check_up_to_date(mdata, mod)
    name, known = _holders(mdata, key)
    if not known:
        columns = {name: list(data.obs.columns) for name, data in {"mdata": mdata, **mdata.mod}.items()}
        raise KeyError(f"{argument}={key!r} is no column of any obs: {columns}.")
    for owner in known:
        obs = mdata.obs if owner is None else mdata[owner].obs
        if isinstance(obs[name], pd.DataFrame):
            raise ValueError(f"{argument}={key!r} is the name of several columns of obs: keep one, or rename them.")
    if known == [None]:
        values = mdata.obs[name]
    else:
        values = _first_known(mdata, name, sorted(filter(None, known), key=lambda holder: holder != mod))
    return values if mod is None else values.iloc[positions(mdata, mod)].set_axis(mdata[mod].obs_names)


def in_obs(mdata: MuData, key: str) -> bool:
    """Whether :func:`obs_column` would find the column."""
    return bool(_holders(mdata, key)[1])


def _holders(mdata: MuData, key: str) -> tuple[str, list[str | None]]:
    """Name of a column, and whose ``obs`` it is read from: modalities, or ``None`` for that of ``mdata``."""
    for mod in mdata.mod:
        name = key.removeprefix(f"{mod}:")
        if name != key and name in mdata[mod].obs:
            return name, [mod]
    if key in mdata.obs:
        return key, [None]
    return key, [mod for mod in mdata.mod if key in mdata[mod].obs]


def _first_known(mdata: MuData, name: str, mods: list[str]) -> pd.Series:
    """For every cell, the value of the first of the modalities that has one."""
    columns = [mdata[mod].obs[name] for mod in mods]
    values = pd.Series(np.nan, index=mdata.obs_names, dtype=object, name=name)
    for mod, column in reversed(list(zip(mods, columns, strict=True))):
        known = column.notna().to_numpy()
        values.iloc[positions(mdata, mod)[known]] = column.astype(object).to_numpy()[known]
    if not all(isinstance(column.dtype, pd.CategoricalDtype) for column in columns):
        return values.infer_objects()
    categories = columns[0].cat.categories
    for column in columns[1:]:
        categories = categories.union(column.cat.categories, sort=False)
    # The order of several lists of categories that differ is nobody's.
    ordered = all(column.dtype == columns[0].dtype for column in columns) and bool(columns[0].cat.ordered)
    return values.astype(pd.CategoricalDtype(categories, ordered=ordered))
