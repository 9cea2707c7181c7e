"""Features of one modality, wherever they are stored, read a block at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdart._chunks import as_matrix, columns_of, mapped, on_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from scdart._chunks import Rows

#: Entries of a dense block, (n_cells x n_features): 4 MB, so that the arrays of a fit stay in the processor's cache.
_BLOCK_ENTRIES = 500_000


@dataclass(frozen=True)
class FeatureTable:
    """Some features of all cells of a modality, and the cells' totals over all features of the slot."""

    slot: str
    names: pd.Index
    values: sp.csr_matrix | NDArray
    """Shape (n_cells, n_features)."""
    total: NDArray[np.float64]
    """Of each cell, (n_cells,); NaN and infinite values count as nothing."""

    @property
    def stored(self) -> NDArray:
        """Values in no order, without the zeros of a sparse matrix."""
        return self.values if isinstance(self.values, np.ndarray) else self.values.data

    def only(self, keep: NDArray[np.bool_]) -> FeatureTable:
        """Leave out features; totals stay those over all."""
        return replace(self, names=self.names[keep], values=self.values[:, keep])

    def blocks(self, cells: NDArray[np.intp]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Go through the features: positions, and dense values of the cells."""
        values = self.values[cells]
        if not isinstance(values, np.ndarray):
            values = values.tocsc()
        width = max(1, _BLOCK_ENTRIES // max(len(cells), 1))
        for start in range(0, len(self.names), width):
            block = slice(start, start + width)
            dense = values[:, block] if isinstance(values, np.ndarray) else values[:, block].toarray()
            yield block, np.ascontiguousarray(dense, dtype=np.float64)


def read_features(
    adata: AnnData, mod: str, layer: str | None, obsm: str | None, features: Sequence[str] | None
) -> FeatureTable:
    """Find the slot and the features in it.

    Parameters
    ----------
    adata
        The modality.
    mod
        Its name, for messages.
    layer, obsm
        One of the slots, or neither for ``X``. Columns of an array in ``obsm`` are named by the slot and their number.
    features
        Names; ``None`` takes all.

    Returns
    -------
    The table.

    Raises
    ------
    KeyError
        If the slot or a feature is missing.
    ValueError
        If both slots are named, or names are ambiguous or none.
    """
    if layer is not None and obsm is not None:
        raise ValueError(f"layer={layer!r} and obsm={obsm!r} were both given: features are in one of them.")
    slot, stored, names = _slot(adata, mod, layer, obsm)
    wanted = names if features is None else pd.Index([features] if isinstance(features, str) else list(features))
    if wanted.empty:
        raise ValueError("features is empty: name at least one, or leave it out to take all.")
    if not names.is_unique or not wanted.is_unique:
        twice = names[names.duplicated()] if not names.is_unique else wanted[wanted.duplicated()]
        raise ValueError(f"{twice[0]!r} names more than one feature of {slot}: make the names unique.")
    positions = names.get_indexer(wanted)
    if (positions < 0).any():
        missing = wanted[positions < 0]
        raise KeyError(f"{len(missing)} of the features are not in {slot}, such as {missing[0]!r}: see its names.")
    values = stored if features is None and not on_disk(stored) else columns_of(stored, positions)
    return FeatureTable(slot, wanted, values, mapped(as_matrix(stored), _totals))


def _slot(
    adata: AnnData, mod: str, layer: str | None, obsm: str | None
) -> tuple[str, sp.csr_matrix | NDArray, pd.Index]:
    names = adata.var_names
    if obsm is not None:
        kind, available, key = "obsm", adata.obsm, obsm
    elif layer is not None:
        kind, available, key = "layers", adata.layers, layer
    else:
        kind, available, key = "X", {"X": adata.X}, "X"
    slot = f"mdata[{mod!r}].{kind}" + ("" if kind == "X" else f"[{key!r}]")
    if key not in available:
        raise KeyError(f"{slot} does not exist: {kind} has {sorted(filter(None, available))}.")
    stored = available[key]
    if stored is None:
        raise ValueError(f"{slot} is empty: name a layer, or a slot of obsm.")
    if isinstance(stored, pd.DataFrame):
        return slot, stored.to_numpy(), stored.columns.astype(str)
    if not on_disk(stored):
        stored = sp.csr_matrix(stored) if sp.issparse(stored) else np.asarray(stored)
    if obsm is not None:
        names = pd.Index([f"{obsm}_{i}" for i in range(stored.shape[1])])
    return slot, stored, names


def _totals(stored: sp.csr_matrix | NDArray, rows: Rows) -> NDArray[np.float64]:
    if isinstance(stored, np.ndarray):
        return np.nan_to_num(stored, posinf=0, neginf=0).sum(axis=1, dtype=np.float64)
    finite = np.nan_to_num(stored.data, posinf=0, neginf=0)
    totals = sp.csr_matrix((finite, stored.indices, stored.indptr), shape=stored.shape).sum(axis=1, dtype=np.float64)
    return np.asarray(totals).ravel()
