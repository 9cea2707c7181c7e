"""What the two assays see of a cell: capture, sequencing, drop-out and batch effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import truncnorm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._distributions import FloatArray
    from ._kinetics import Kinetics

_MIN_CAPTURE: Final = 5e-4
_RELATIVE_ERROR: Final = 0.1


def draw_capture_efficiency(n_cells: int, mean: float, sd: float, rng: np.random.Generator) -> FloatArray:
    """Share of each cell's transcripts that is captured: normal, truncated to (0.0005, 1)."""
    if sd == 0:
        return np.full(n_cells, mean)
    low, high = (_MIN_CAPTURE - mean) / sd, (1 - mean) / sd
    return truncnorm.rvs(low, high, loc=mean, scale=sd, size=n_cells, random_state=rng)


def draw_batch_effects(n_batches: int, n_features: int, size: float, rng: np.random.Generator) -> FloatArray:
    """Factor by which each batch sees each feature: (batches x features), uniform on a log2 scale within +-size."""
    return 2.0 ** rng.uniform(-size, size, size=(n_batches, n_features))


def rna_counts(
    kinetics: Kinetics, efficiency: FloatArray, sequencing_depth: float, rng: np.random.Generator
) -> csr_matrix:
    """UMI counts (cells x genes) of two-state promoters in the steady state, captured and sequenced.

    The transcripts of a gene are Poisson, with s times a Beta(kon, koff) share of open time as their mean. Each is
    captured with the given efficiency (cells x genes) and counted if one of the cell's reads falls on it. Thinning a
    Poisson leaves a Poisson, so the counts are drawn at once.
    """
    never_closes = kinetics.koff == 0
    open_time = rng.beta(kinetics.kon, np.where(never_closes, 1.0, kinetics.koff))
    captured = np.where(never_closes, 1.0, open_time) * kinetics.s * efficiency
    reads_per_molecule = sequencing_depth / np.maximum(captured.sum(axis=1, keepdims=True), 1.0)
    return csr_matrix(rng.poisson(captured * -np.expm1(-reads_per_molecule)).astype(np.float32))


def atac_signal(accessibility: csr_matrix, capture: FloatArray, rng: np.random.Generator) -> csr_matrix:
    """Draw the captured copies of each open peak, with a measurement error of 10%: (cells x peaks).

    ``capture`` is the share of copies that is captured, cell by cell.
    """
    signal = accessibility.astype(np.float32)
    captured = rng.binomial(np.rint(signal.data).astype(np.int64), np.repeat(capture, np.diff(signal.indptr)))
    signal.data = (captured * (1 + _RELATIVE_ERROR * rng.standard_normal(len(captured)))).astype(np.float32)
    signal.eliminate_zeros()
    return signal


def atac_counts(signal: csr_matrix, batch: NDArray[np.intp], batch_effects: FloatArray, density: float) -> csr_matrix:
    """Integer counts (cells x peaks) of the strongest entries, as many as ``density`` allows in the whole matrix.

    A batch effect acts before the cut: it decides which peaks a batch sees at all.
    """
    counts = signal.tocoo()
    counts.data = counts.data * batch_effects[batch[counts.row], counts.col].astype(np.float32)
    n_cut = counts.nnz - round(density * counts.shape[0] * counts.shape[1])
    if n_cut > 0:
        weakest = np.partition(counts.data, min(n_cut, counts.nnz - 1))[min(n_cut, counts.nnz - 1)]
        counts.data[counts.data < weakest] = 0
    counts.data = np.where(counts.data > 0, np.maximum(np.rint(counts.data), 1), 0).astype(np.float32)
    counts = counts.tocsr()
    counts.eliminate_zeros()
    return counts
