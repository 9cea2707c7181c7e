"""Batches of the cells of a modality: donors, lanes or laboratories, and the factors by which each sees a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from ._chunks import transformed
from ._constants import BATCH_FACTORS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

    from ._chunks import Matrix

#: Least cells of a batch from which factors are estimated, with the default number of neighbours.
MIN_BATCH = 21

#: Entries that are scaled at a time.
_CHUNK = 1_000_000


class Batches(NamedTuple):
    """Batches of one modality's cells.

    Attributes
    ----------
    names
        Their names, in the order of the codes.
    codes
        Code of each cell's batch, of shape (n_cells,).
    """

    names: tuple[str, ...]
    codes: np.ndarray


class BatchEffects(NamedTuple):
    """What sets the batches of one modality apart.

    Attributes
    ----------
    codes
        Code of each cell's batch, of shape (n_cells,).
    factors
        What the values of a batch's cells are multiplied by to be comparable, of shape (n_batches, n_features).
    """

    codes: np.ndarray
    factors: np.ndarray

    def corrected(self, values: Matrix) -> Matrix:
        """Take the effects out of counts or weights of shape (n_cells, n_features), which stay as they are."""
        return transformed(values, lambda chunk, rows: BatchEffects(self.codes[rows], self.factors)._scaled(chunk))

    def _scaled(self, values: sp.csr_matrix) -> sp.csr_matrix:
        data = np.empty(values.nnz, dtype=np.float32)
        starts = np.searchsorted(values.indptr, np.arange(0, values.nnz + _CHUNK, _CHUNK), side="right") - 1
        for first, last in zip(starts, [*starts[1:], values.shape[0]], strict=True):
            part = slice(values.indptr[first], values.indptr[last])
            code = np.repeat(self.codes[first:last], np.diff(values.indptr[first : last + 1]))
            data[part] = values.data[part] * self.factors[code, values.indices[part]]
        return sp.csr_matrix((data, values.indices, values.indptr), shape=values.shape)


def batches_of(adata: AnnData, batch_key: str) -> Batches | None:
    """Get the batches of a modality's cells; ``None`` where it does not have the column, or has a single one."""
    if batch_key not in adata.obs:
        return None
    labels = batch_labels(adata, batch_key).astype("category")
    if len(labels.cat.categories) < 2:
        return None
    return Batches(tuple(labels.cat.categories), labels.cat.codes.to_numpy(dtype=np.int64))


def batch_labels(adata: AnnData, batch_key: str) -> pd.Series:
    """Name of each cell's batch, whatever its type."""
    return adata.obs[batch_key].astype(str)


def check_batches(
    mdata: MuData, batch_key: str, mods: Mapping[str, str], *, min_cells: int, may_be_one: bool = False
) -> None:
    """Raise unless a column says of every cell of the modalities that have it which of several batches it is of.

    Parameters
    ----------
    mdata
        Annotated data.
    batch_key
        Column of `obs` of both modalities, or of one.
    mods
        Names of the modalities by role.
    min_cells
        Least cells of a batch.
    may_be_one
        Whether a single batch will do.

    Raises
    ------
    KeyError
        No modality has the column.
    ValueError
        A cell has no batch, a batch has too few cells, no modality has several batches, or the batches are the
        modalities.
    """
    adata = {mod: mdata.mod[mod] for mod in mods.values() if batch_key in mdata.mod[mod].obs}
    if not adata:
        columns = {mod: sorted(map(str, mdata.mod[mod].obs)) for mod in mods.values()}
        raise KeyError(f"batch_key={batch_key!r} is a column of neither modality's obs: {columns}.")
    for mod, one in adata.items():
        slot, labels = f"mdata.mod[{mod!r}].obs[{batch_key!r}]", one.obs[batch_key]
        missing = labels.isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"{slot} is missing for {missing.sum():,} cells, such as {one.obs_names[missing][0]!r}: give every "
                "cell a batch, or remove these cells."
            )
        sizes = labels.astype(str).value_counts()
        if len(sizes) > 1 and sizes.min() < min_cells:
            raise ValueError(
                f"{slot} has batches of few cells ({sizes.index[-1]!r}: {sizes.iloc[-1]}), and {min_cells} are needed "
                "to tell their effects from noise: merge batches, or remove these cells."
            )
    if not may_be_one and not any(one.obs[batch_key].astype(str).nunique() > 1 for one in adata.values()):
        found = {mod: one.obs[batch_key].astype(str).unique().tolist() for mod, one in adata.items()}
        is_modality = len(found) == 2 and len({values[0] for values in found.values()}) == 2
        why = "the batches are the modalities, which are told apart anyway" if is_modality else "it has one value"
        raise ValueError(f"batch_key={batch_key!r} tells nothing apart ({why}): {found}. Leave batch_key out.")


def stored_effects(mdata: MuData, mod: str, batch_key: str | None) -> BatchEffects | None:
    """Get what :func:`scdart.pp.batch_factors` wrote for a modality; ``None`` where it has a single batch.

    Raises
    ------
    KeyError
        Nothing was written for these batches.
    """
    batches = None if batch_key is None else batches_of(mdata.mod[mod], batch_key)
    if batches is None:
        return None
    if not has_factors(mdata, mod, batch_key):
        raise KeyError(
            f"mdata.mod[{mod!r}].varm[{BATCH_FACTORS!r}] is not there for the batches of {batch_key!r}: run "
            f"scdart.pp.batch_factors(mdata, {batch_key!r}) first."
        )
    return BatchEffects(batches.codes, np.asarray(mdata.mod[mod].varm[BATCH_FACTORS], dtype=np.float32).T)


def has_factors(mdata: MuData, mod: str, batch_key: str | None) -> bool:
    """Whether a modality has no need of factors, or has those of just these batches."""
    adata = mdata.mod[mod]
    batches = None if batch_key is None else batches_of(adata, batch_key)
    if batches is None:
        return True
    described = adata.uns.get(BATCH_FACTORS, {})
    same = described.get("batch_key") == batch_key and tuple(described.get("batches", ())) == batches.names
    return BATCH_FACTORS in adata.varm and same
