"""Anchors between cells that are known to correspond."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
    from anndata import AnnData

#: Pairs of cells, as the user can name them.
Pairs: TypeAlias = Literal["obs_names"] | pd.DataFrame | np.ndarray | Sequence[tuple[str, str]]


def known_pairs(pairs: Pairs, rna: AnnData, atac: AnnData) -> sp.csr_matrix:
    """Find pairs by the names of their cells.

    Returns
    -------
    Ones for pairs, of shape (n_rna, n_atac).

    Raises
    ------
    KeyError
        A cell of a pair is not there.
    ValueError
        Pairs are no pairs of names, or no cell is in both modalities.
    """
    if isinstance(pairs, str):
        shared = rna.obs_names.intersection(atac.obs_names)
        if shared.empty:
            raise ValueError(
                f"pairs='obs_names', but no cell is in both modalities ({rna.obs_names[0]!r}, ... against "
                f"{atac.obs_names[0]!r}, ...): rename the cells, or pass the names of pairs."
            )
        names = np.column_stack([shared, shared])
    else:
        names = np.asarray(pairs, dtype=object)
    if names.ndim != 2 or names.shape[1] != 2 or not len(names):
        raise ValueError(f"pairs has the shape {names.shape}: pass names of an RNA cell and an ATAC cell in each row.")
    rows = []
    for column, adata, what in ((0, rna, "RNA"), (1, atac, "ATAC")):
        row = adata.obs_names.get_indexer(pd.Index(names[:, column].astype(str)))
        if (row < 0).any():
            missing = names[row < 0, column]
            raise KeyError(
                f"{len(missing):,} cells in column {column} of pairs are not in the {what} modality, such as "
                f"{str(missing[0])!r}: pass its obs_names, the RNA cell first."
            )
        rows.append(row)
    known = sp.csr_matrix((np.ones(len(names)), (rows[0], rows[1])), shape=(rna.n_obs, atac.n_obs))
    known.data[:] = 1  # a pair that is listed twice
    return known
