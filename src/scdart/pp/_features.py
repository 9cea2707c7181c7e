"""Low-dimensional features of cells from counts: log-normalisation and PCA for RNA, TF-IDF and LSI for ATAC."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import svd_flip

from scdart._checks import check_values, counts_slot, stored_counts
from scdart._chunks import RowChunks, as_matrix, on_disk, transformed
from scdart._process import threads_kept

from ._axes import leading_axes

if TYPE_CHECKING:
    from mudata import MuData

    from scdart._batches import BatchEffects
    from scdart._chunks import Matrix, Rows

#: Factor on term frequencies before their logarithm, as in muon and Signac.
_TFIDF_SCALE = 1e4

#: Share of the mean square of a gene up to which its variance is rounding error.
_ROUNDING = 1e-6


def modality_counts(mdata: MuData, mod: str, layer: str | None = None) -> Matrix:
    """Get the counts of one modality, checked: finite, not negative, no empty cell.

    Those on disk are read once for this.

    Parameters
    ----------
    mdata
        Annotated data.
    mod
        Name of the modality.
    layer
        Layer of the modality with the counts; `None` takes `X`.

    Returns
    -------
    Counts of shape (n_cells, n_features). The user's own arrays where they are CSR already: not to be written to. Those
    on disk stay there unless they are small.

    Raises
    ------
    KeyError
        The layer is missing.
    ValueError
        Counts are missing, negative, NaN or infinite, a cell has none, or they are on disk by column.
    """
    counts = stored_counts(mdata.mod[mod], layer, mod)
    if not on_disk(counts):
        return sp.csr_matrix(counts)
    if getattr(counts, "format", "csr") != "csr":
        raise ValueError(
            f"{counts_slot(layer, mod)} is stored on disk by column, so that rows cannot be read one by one: write it "
            "by row, adata.X = adata.X.tocsr()."
        )
    matrix = as_matrix(counts)
    check_values(matrix, mdata.mod[mod], layer, mod)
    return matrix if isinstance(matrix, RowChunks) else sp.csr_matrix(matrix)


def log_normalize(counts: Matrix, target_sum: float | None = None) -> Matrix:
    """Scale every cell to the same library size and take log(1 + x).

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_genes), no cell empty.
    target_sum
        Library size after scaling; by default the median of the library sizes.

    Returns
    -------
    Log-normalised expression of shape (n_cells, n_genes), float32.
    """
    if isinstance(counts, RowChunks) and target_sum is None:
        target_sum = float(np.median(counts.then(lambda chunk, rows: chunk.astype(np.float32)).sum(axis=1)))

    def log_normalized(chunk: sp.csr_matrix, rows: Rows) -> sp.csr_matrix:
        adata = AnnData(chunk.astype(np.float32))
        with threads_kept():
            sc.pp.normalize_total(adata, target_sum=target_sum)
            sc.pp.log1p(adata)
        return adata.X

    return transformed(counts, log_normalized)


def tfidf(counts: Matrix) -> Matrix:
    r"""Weigh open peaks by TF-IDF, as muon does by default, whatever their counts.

    .. math:: w_{ij} = \log\Bigl(1 + 10^4 \frac{b_{ij}}{\sum_k b_{ik}}\Bigr)
        \log\Bigl(1 + \frac{n}{\sum_k b_{kj}}\Bigr),\qquad b_{ij} = [x_{ij} > 0]

    Parameters
    ----------
    counts
        Counts of shape (n_cells, n_peaks), no cell empty.

    Returns
    -------
    Weights of shape (n_cells, n_peaks), float32, that share the index arrays of `counts`: genome-wide, these indices
    are half of the memory.
    """
    counts = transformed(counts, _without_zeros)
    inverse_frequency = np.log1p(counts.shape[0] / np.maximum(counts.getnnz(axis=0), 1)).astype(np.float32)

    def weighed(chunk: sp.csr_matrix, rows: Rows) -> sp.csr_matrix:
        n_open = np.diff(chunk.indptr)
        weights = np.repeat(np.log1p(_TFIDF_SCALE / n_open).astype(np.float32), n_open)
        weights *= inverse_frequency[chunk.indices]
        return sp.csr_matrix((weights, chunk.indices, chunk.indptr), shape=chunk.shape)

    return transformed(counts, weighed)


def _without_zeros(counts: sp.csr_matrix, rows: Rows) -> sp.csr_matrix:
    if (counts.data == 0).any():
        counts = counts.copy()
        counts.eliminate_zeros()
    return counts


def expression(counts: Matrix, effects: BatchEffects | None = None) -> Matrix:
    """Log-normalise counts of genes, after what sets batches apart has been taken out."""
    return log_normalize(counts if effects is None else effects.corrected(counts))


def accessibility(counts: Matrix, effects: BatchEffects | None = None) -> Matrix:
    """Weigh open peaks by TF-IDF, and take out what sets batches apart."""
    weights = tfidf(counts)
    return weights if effects is None else effects.corrected(weights)


def pca(expression: Matrix, n_comps: int = 30, *, random_state: int = 0) -> np.ndarray:
    """Compute principal components of sparse expression, centred without making it dense.

    Those on disk are read some ten times: the distances of cells are the same to single precision.

    Parameters
    ----------
    expression
        Log-normalised expression of shape (n_cells, n_genes).
    n_comps
        Number of components; reduced, with a warning, where there are not more cells and genes than that.
    random_state
        Seed of the start vector of the solver.

    Returns
    -------
    Coordinates of shape (n_cells, n_comps).
    """
    n_comps = _available_components(n_comps, expression.shape, "cells x genes")
    if n_comps < 1 or not _varies(expression):
        raise ValueError(
            f"Expression of {expression.shape[0]} cells x {expression.shape[1]} genes has no component: cells must "
            "differ in at least two genes."
        )
    if isinstance(expression, RowChunks):
        return _positions(expression, n_comps, expression.mean(axis=0), random_state)
    return PCA(n_comps, svd_solver="arpack", random_state=random_state).fit_transform(expression)


def _varies(expression: Matrix) -> bool:
    """Whether any gene differs between cells by more than rounding."""
    squares = transformed(expression, lambda chunk, rows: chunk.multiply(chunk))
    mean, square = (np.asarray(each.mean(axis=0)).ravel() for each in (expression, squares))
    return bool((square - mean**2 > _ROUNDING * square).any())


def lsi(weights: Matrix, n_comps: int = 30, *, random_state: int = 0) -> np.ndarray:
    """Latent semantic indexing: singular vectors of TF-IDF weights without the first, on the unit sphere.

    The first component is sequencing depth. The others keep the scale of their singular values, since the whitened
    ones give noise the weight of signal: with unit variance, the nearest neighbours of cells are of the same type, or
    of near pseudotime, far less often. Cells are then scaled to unit length, which removes what depth is left.

    Parameters
    ----------
    weights
        TF-IDF weights of shape (n_cells, n_peaks).
    n_comps
        Number of singular vectors, the dropped one included; reduced, with a warning, where there are not more cells
        and peaks than that.
    random_state
        Seed of the start vector of the solver.

    Returns
    -------
    Coordinates of shape (n_cells, n_comps - 1), rows of length 1.
    """
    n_comps = _available_components(n_comps, weights.shape, "cells x peaks")
    if n_comps < 2:
        raise ValueError(
            f"LSI drops the first component of the {n_comps} that are left of {weights.shape[0]} cells x "
            f"{weights.shape[1]} peaks: pass at least 2 components, 3 cells and 3 peaks."
        )
    if isinstance(weights, RowChunks):
        return normalize(_positions(weights, n_comps, None, random_state)[:, 1:])
    # Given the matrix itself, SciPy would copy it in order to transpose it.
    forth, back = weights.dot, weights.T.dot
    operator = LinearOperator(
        weights.shape, matvec=forth, rmatvec=back, matmat=forth, rmatmat=back, dtype=weights.dtype
    )
    start = np.random.RandomState(random_state).uniform(-1, 1, min(weights.shape))
    u, s, vt = svds(operator, n_comps, v0=start)
    u, _ = svd_flip(u[:, ::-1], vt[::-1], u_based_decision=False)
    return normalize((u * s[::-1])[:, 1:])


def _positions(matrix: RowChunks, n_comps: int, centre: np.ndarray | None, seed: int) -> np.ndarray:
    """Positions of cells along the leading axes, whose signs are those of PCA and LSI in memory."""
    axes = leading_axes(matrix, n_comps, centre, np.random.default_rng(seed))
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(n_comps)])
    positions = matrix @ axes
    return (positions if centre is None else positions - centre @ axes).astype(np.float32)


def _available_components(n_comps: int, shape: tuple[int, int], axes: str) -> int:
    available = min(shape) - 1
    if n_comps > available:
        warnings.warn(
            f"{shape[0]} x {shape[1]} ({axes}) have {available} components, not {n_comps}: taking {available}.",
            UserWarning,
            stacklevel=4,
        )
    return min(n_comps, available)
