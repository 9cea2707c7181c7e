"""Priors that need no annotation: a matrix that is there already, and gene scores in place of peaks."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from scdart._checks import counts_slot, stored_counts
from scdart._chunks import on_disk
from scdart._constants import ATAC, GENE_ACTIVITY, RNA
from scdart._docs import fill_in_docs
from scdart._intervals import without_version
from scdart._options import check_options

from ._prior_slot import check_unique, examples_of, prior_modalities, store_prior, warn_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mudata import MuData

logger = logging.getLogger(__name__)

#: Share of scores that are not 0 from which on it says little which are.
_DENSE = 0.5


@fill_in_docs
def set_gene_activity(
    mdata: MuData,
    matrix: sp.sparray | sp.spmatrix | np.ndarray | pd.DataFrame,
    *,
    peaks: Sequence[str] | pd.Index | None = None,
    genes: Sequence[str] | pd.Index | None = None,
    atac_mod: str = ATAC,
    rna_mod: str = RNA,
    key_added: str = GENE_ACTIVITY,
    copy: bool = False,
) -> MuData | None:
    """Use a ready-made matrix as the prior of the gene-activity module.

    Parameters
    ----------
    mdata
        Annotated data with an RNA modality (features are genes) and an ATAC modality (features are peaks).
    matrix
        Weights >= 0 of shape (n_peaks, n_genes), sparse or dense. A table is aligned by its labels: peaks and genes
        that it does not have get no links, those that `mdata` does not have are left out.
    peaks
        Names of the rows of `matrix`, to align them. By default the index of a table, and else the peaks of the ATAC
        modality in their order.
    genes
        Names of the columns of `matrix`, to align them. By default the columns of a table, and else the genes of the
        RNA modality in their order.
    %(atac_mod)s
    %(rna_mod)s
    %(key_added)s
    %(copy)s

    Returns
    -------
    %(written_prior)s

    Raises
    ------
    KeyError
        A modality is missing.
    ValueError
        The matrix has another shape or orientation, holds values that are not weights, or has no link between the peaks
        and the genes of `mdata`; names are not unique; or `mdata` is a view.

    Example
    -------
    >>> import anndata as ad, mudata as md, numpy as np, pandas as pd, scdart
    >>> rna = ad.AnnData(np.ones((4, 2)), var=pd.DataFrame(index=["Sox2", "Pax6"]))
    >>> atac = ad.AnnData(np.ones((5, 3)), var=pd.DataFrame(index=["p1", "p2", "p3"]))
    >>> rna.obs_names, atac.obs_names = list("abcd"), list("efghi")
    >>> mdata = md.MuData({"rna": rna, "atac": atac})
    >>> scdart.pp.set_gene_activity(mdata, np.array([[0, 1], [1, 0], [0, 0]]), genes=["Pax6", "Sox2"])
    >>> mdata["atac"].varm["gene_activity"].toarray()
    array([[1., 0.],
           [0., 1.],
           [0., 0.]], dtype=float32)
    """
    check_options(set_gene_activity, locals())
    rna, atac = prior_modalities(mdata, rna_mod, atac_mod, copy=copy)
    rows, columns = atac.var_names, rna.var_names
    if isinstance(matrix, pd.DataFrame):
        peaks = matrix.index if peaks is None else peaks
        genes = matrix.columns if genes is None else genes
        all_sparse = len(matrix.columns) > 0 and all(isinstance(dtype, pd.SparseDtype) for dtype in matrix.dtypes)
        # pandas-stubs do not describe the accessor
        matrix = matrix.sparse.to_coo() if all_sparse else matrix.to_numpy()  # type: ignore[attr-defined]
    given_rows = rows if peaks is None else pd.Index(peaks)
    given_columns = columns if genes is None else pd.Index(genes)
    for given, axis in ((given_rows, "peaks"), (given_columns, "genes")):
        check_unique(given, f"the names of the {axis} of matrix")
    weights = sp.coo_matrix(matrix, dtype=np.float32)
    _check_orientation(weights.shape, given_rows, given_columns, rows, columns)
    invalid = ~(np.isfinite(weights.data) & (weights.data >= 0))
    if invalid.any():
        raise ValueError(
            f"matrix holds {weights.data[invalid][0]}: the weights of links must be finite and not negative."
        )

    row, column = rows.get_indexer(given_rows)[weights.row], columns.get_indexer(given_columns)[weights.col]
    kept = (row >= 0) & (column >= 0)
    prior = sp.csr_matrix((weights.data[kept], (row[kept], column[kept])), shape=(len(rows), len(columns)))
    prior.eliminate_zeros()
    if prior.nnz == 0:
        raise ValueError(
            f"matrix has no link between the peaks of mdata.mod[{atac_mod!r}] and the genes of mdata.mod[{rna_mod!r}]: "
            "all these weights are 0. Pass a matrix with weights above 0 for these peaks and genes."
        )
    for given, wanted, what in (
        (given_rows, rows, f"peaks of mdata.mod[{atac_mod!r}]"),
        (given_columns, columns, f"genes of mdata.mod[{rna_mod!r}]"),
    ):
        absent = wanted[~wanted.isin(given)]
        warn_of(len(absent), len(wanted), f"{what} are not in matrix", absent)
    return store_prior(mdata, prior, columns, {"params": {}}, atac_mod, key_added, copy=copy)


def _check_orientation(
    shape: tuple[int, ...], given_rows: pd.Index, given_columns: pd.Index, rows: pd.Index, columns: pd.Index
) -> None:
    expected = (len(given_rows), len(given_columns))
    labels_swapped = given_rows.isin(columns).any() and given_columns.isin(rows).any()
    if labels_swapped or shape == expected[::-1] != expected:
        raise ValueError(f"matrix of shape {shape} is genes x peaks: transpose it, peaks are rows and genes columns.")
    if shape != expected:
        raise ValueError(f"matrix has the shape {shape}, not {expected}: one row a peak and one column a gene.")
    for given, wanted, what in ((given_rows, rows, "peaks"), (given_columns, columns, "genes")):
        if not given.isin(wanted).any():
            raise ValueError(
                f"None of the {what} of matrix is in mdata: {examples_of(given)} against {examples_of(wanted)}. Rename "
                "them to match."
            )


@fill_in_docs
def gene_scores(
    mdata: MuData,
    *,
    atac_mod: str = ATAC,
    rna_mod: str = RNA,
    atac_layer: str | None = None,
    key_added: str = GENE_ACTIVITY,
    copy: bool = False,
) -> MuData | None:
    """Link each gene of ATAC with the same gene of RNA: the prior where ATAC has gene scores in place of peaks.

    For the gene scores of ArchR or the gene activity of Signac, where peaks are not at hand. With peaks, use
    :func:`scdart.pp.gene_activity`.

    Parameters
    ----------
    mdata
        Annotated data with an RNA and an ATAC modality whose features are genes. They are matched by their names,
        without the version of Ensembl identifiers.
    %(atac_mod)s
    %(rna_mod)s
    atac_layer
        Layer with the scores; `X` by default.
    %(key_added)s
    %(copy)s

    Returns
    -------
    `None`, or the copy with `copy=True`. Written to the ATAC modality:

    `varm[key_added]`
        The prior, sparse (CSR, float32), of shape (n_scores, n_genes), with a 1 for each gene that both have.
    `uns[key_added]`
        `"genes"`: names of the columns, in the order of the RNA modality's `var_names`.

    Raises
    ------
    KeyError
        A modality or layer is missing.
    ValueError
        No gene is in both, names are not unique, scores are negative, or `mdata` is a view.

    Warns
    -----
    UserWarning
        Most scores are above 0, and it is all that is read of them.

    Notes
    -----
    What is lost, since a score is the sum of accessibility around a gene:

    - Which peak acts on which gene. Learned links are those between genes, and neither motifs nor loci can be told.
    - What happens far from genes, which often tells cell states apart.
    - How much each peak counts. Whoever made the scores has decided that; here it would have been learned.
    - The size of a score. As peaks are, they are read as open or closed.

    Example
    -------
    >>> import anndata as ad, numpy as np, pandas as pd, scdart
    >>> rna = ad.AnnData(np.ones((2, 2)), pd.DataFrame(index=["a", "b"]), pd.DataFrame(index=["Sox2", "Pax6"]))
    >>> scores = ad.AnnData(np.eye(2), pd.DataFrame(index=["c", "d"]), pd.DataFrame(index=["Pax6", "Gata1"]))
    >>> mdata = scdart.pp.from_anndata(rna, scores)
    >>> scdart.pp.gene_scores(mdata)
    >>> mdata["atac"].varm["gene_activity"].toarray()
    array([[0., 1.],
           [0., 0.]], dtype=float32)
    """
    check_options(gene_scores, locals())
    rna, atac = prior_modalities(mdata, rna_mod, atac_mod, copy=copy)
    scores = stored_counts(atac, atac_layer, atac_mod)
    genes, scored = (pd.Index(without_version(one.var_names.to_series())) for one in (rna, atac))
    for names, mod in ((genes, rna_mod), (scored, atac_mod)):
        check_unique(names, f"mdata.mod[{mod!r}].var_names without their versions")
    column = genes.get_indexer(scored)
    row = np.flatnonzero(column >= 0)
    if not len(row):
        raise ValueError(
            f"mdata.mod[{atac_mod!r}] has no gene of mdata.mod[{rna_mod!r}]: {examples_of(scored)} against "
            f"{examples_of(genes)}. Name genes alike; of peaks, use scdart.pp.gene_activity(mdata, annotation)."
        )
    if (share := _share_open(scores)) > _DENSE:
        warnings.warn(
            f"{share:.0%} of the scores in {counts_slot(atac_layer, atac_mod)} are above 0, and nothing else is read "
            "of them: set to 0 what is below the mean of its gene (in the documentation: How to, from R).",
            UserWarning,
            stacklevel=2,
        )
    prior = sp.csr_matrix((np.ones(len(row), np.float32), (row, column[row])), shape=(len(scored), len(genes)))
    logger.info(
        "ATAC has scores of genes, each linked with its gene: which peaks act on a gene, also from afar, will not be "
        "known, and scores count as open or closed."
    )
    return store_prior(mdata, prior, rna.var_names, {"params": {}}, atac_mod, key_added, copy=copy)


def _share_open(scores: Any) -> float:
    """Share of scores that are not 0; of scores on disk, not looked at."""
    if on_disk(scores):
        return 0.0
    return (scores.count_nonzero() if sp.issparse(scores) else np.count_nonzero(scores)) / np.prod(scores.shape)
