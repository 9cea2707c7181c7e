"""Expression on one scale: measured in RNA cells, and predicted for ATAC cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from scdart._checks import stored_counts
from scdart._chunks import as_matrix, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from mudata import MuData

    from scdart.model import SCDART


def measured_expression(rna: AnnData, genes: Sequence[str], layer: str | None, mod: str) -> sparse.csr_matrix:
    """Log-normalise some genes as the model does: relative to the median library.

    Parameters
    ----------
    rna
        Cells with counts.
    genes
        Names of the genes.
    layer
        Layer with the counts; ``None`` takes ``X``.
    mod
        Name of the modality, for messages.

    Returns
    -------
    Expression of shape (n_cells, n_genes), float32.

    Raises
    ------
    KeyError
        A gene is not there.
    ValueError
        Names of genes are not unique.
    """
    if not rna.var_names.is_unique:
        repeated = rna.var_names[rna.var_names.duplicated()][0]
        raise ValueError(
            f"mdata.mod[{mod!r}].var_names must be unique, and {repeated!r} is there several times: use "
            "var_names_make_unique()."
        )
    columns = rna.var_names.get_indexer(pd.Index(genes))
    if (columns < 0).any():
        missing = [gene for gene, column in zip(genes, columns, strict=True) if column < 0]
        raise KeyError(f"genes {missing[:5]} are not in mdata[{mod!r}].var_names.")
    counts = as_matrix(stored_counts(rna, layer, mod))
    library = np.asarray(counts.sum(axis=1)).ravel()
    scaled = sparse.diags(np.median(library) / library) @ sparse.csr_matrix(
        mapped(counts, lambda chunk, rows: chunk[:, columns])
    )
    return sparse.csr_matrix(scaled.log1p(), dtype=np.float32)


def predicted_expression(
    predicted: SCDART | pd.DataFrame, mdata: MuData, atac: AnnData, genes: Sequence[str]
) -> pd.DataFrame:
    """Get the expression of some genes that accessibility predicts.

    Parameters
    ----------
    predicted
        The model, or what it has predicted: cells x genes.
    mdata
        The data.
    atac
        Their ATAC modality.
    genes
        Names of the genes.

    Returns
    -------
    ATAC cells x genes, on the scale of :func:`measured_expression`.

    Raises
    ------
    KeyError
        A gene or a cell is not there.
    """
    if not isinstance(predicted, pd.DataFrame):
        return predicted.get_gene_activity(mdata, genes=genes)
    if missing := [gene for gene in genes if gene not in predicted]:
        raise KeyError(f"predicted has no column for {missing[:5]}.")
    if not atac.obs_names.isin(predicted.index).all():
        raise KeyError(f"predicted has no row for {(~atac.obs_names.isin(predicted.index)).sum():,} ATAC cells.")
    return predicted.loc[atac.obs_names, list(genes)]
