"""How well the latent space keeps the order of the cells, their branches and their diffusion distances."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import kendalltau
from sklearn.metrics.cluster import contingency_matrix

from scdart._docs import fill_in_docs
from scdart._options import check_options
from scdart._random import seed_of

from ._checks import check_count, check_labels, check_matrix, check_same_length, check_vectors
from ._correlation import CorrelationMethod, check_method, correlate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_N_PAIRS_BLOCK = 8192


class BranchesF1(NamedTuple):
    """Agreement of inferred and true branches."""

    #: Harmonic mean of recovery and relevance.
    f1: float
    #: Mean over the true branches of the largest Jaccard index with an inferred branch.
    recovery: float
    #: Mean over the inferred branches of the largest Jaccard index with a true branch.
    relevance: float


def pseudotime_kendall(predicted: ArrayLike, truth: ArrayLike) -> float:
    r"""Kendall's rank correlation of inferred and true pseudotime.

    .. math::
        \tau_b = \frac{P - Q}{\sqrt{(P + Q + T)(P + Q + U)}}

    over pairs of cells: P in the same order, Q in opposite order, T tied only in the first and U only in the second. 1
    is the true order, 0 random, -1 the reversed order. The sign is kept: a trajectory found back to front is an error.

    Parameters
    ----------
    predicted
        Inferred pseudotime of every cell; only its order counts.
    truth
        True pseudotime of every cell.

    Returns
    -------
    Kendall's tau-b, -1 to 1; NaN if either is constant.

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN or infinite (cells not connected to the root), or there are fewer than two
        cells.

    References
    ----------
    Kendall (1945), The treatment of ties in ranking problems, Biometrika 33:239, doi:10.1093/biomet/33.3.239; used by
    Zhang, Yang and Zhang (2022), scDART, Genome Biology 23:139, doi:10.1186/s13059-022-02706-x.

    Examples
    --------
    >>> from scdart.metrics import pseudotime_kendall
    >>> pseudotime_kendall([0.1, 0.2, 0.9], [1, 2, 3])
    1.0
    """
    inferred, true = check_vectors(predicted, truth, ("predicted", "truth"))
    return float(kendalltau(inferred, true).statistic)


@fill_in_docs
def pseudotime_consistency(
    pseudotime_rna: ArrayLike, pseudotime_atac: ArrayLike, *, method: CorrelationMethod = "pearson"
) -> float:
    """Correlation of the pseudotimes of the two measurements of a cell.

    1 is perfect, 0 random, -1 a trajectory that runs backwards in one modality.

    Parameters
    ----------
    pseudotime_rna
        Pseudotime of the RNA measurements.
    pseudotime_atac
        Pseudotime of the ATAC measurements; entry i is the same cell as entry i of ``pseudotime_rna``.
    %(correlation)s

    Returns
    -------
    The correlation, -1 to 1; NaN if either is constant.

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN or infinite, there are fewer than two cells, or ``method`` is not known.

    %(scdart_paper)s

    Examples
    --------
    >>> from scdart.metrics import pseudotime_consistency
    >>> round(pseudotime_consistency([1, 2, 3, 4], [1, 4, 9, 16], method="spearman"), 3)
    1.0
    """
    check_method(method)
    rna, atac = check_vectors(pseudotime_rna, pseudotime_atac, ("pseudotime_rna", "pseudotime_atac"))
    return float(correlate(rna, atac, method))


def branches_f1(predicted: ArrayLike, truth: ArrayLike) -> BranchesF1:
    r"""Agreement of inferred branches with true ones, whatever their names.

    With the Jaccard index :math:`J(p, t) = |p \cap t| / |p \cup t|` of an inferred branch p and a true branch t,

    .. math::
        \text{recovery} = \frac{1}{|T|} \sum_{t} \max_p J(p, t), \quad
        \text{relevance} = \frac{1}{|P|} \sum_{p} \max_t J(p, t), \quad
        F_1 = \frac{2}{1/\text{recovery} + 1/\text{relevance}}.

    Parameters
    ----------
    predicted
        Inferred branch of every cell.
    truth
        True branch of every cell.

    Returns
    -------
    F1, recovery and relevance; 1 is perfect.

    Raises
    ------
    ValueError
        If the lengths differ or a label is missing.

    References
    ----------
    Saelens, Cannoodt, Todorov and Saeys (2019), A comparison of single-cell trajectory inference methods, Nature
    Biotechnology 37:547, doi:10.1038/s41587-019-0071-9.

    Examples
    --------
    >>> from scdart.metrics import branches_f1
    >>> branches_f1([0, 0, 0, 0], ["stem", "stem", "tip", "tip"])
    BranchesF1(f1=0.5, recovery=0.5, relevance=0.5)
    """
    inferred, true = check_labels(predicted, "predicted"), check_labels(truth, "truth")
    check_same_length(inferred, true, ("predicted", "truth"))
    both = contingency_matrix(true, inferred)
    jaccard = both / (both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both)
    recovery, relevance = float(jaccard.max(axis=1).mean()), float(jaccard.max(axis=0).mean())
    return BranchesF1(f1=2 * recovery * relevance / (recovery + relevance), recovery=recovery, relevance=relevance)


@fill_in_docs
def diffusion_distance_correlation(
    latent: ArrayLike,
    coordinates: ArrayLike,
    *,
    n_blocks: int,
    n_pairs: int = 100_000,
    method: CorrelationMethod = "pearson",
    random_state: int | None = None,
) -> float:
    r"""Correlation of latent distances with diffusion distances: how well the trajectory is preserved.

    Needs no label and no second modality: over pairs of cells of one modality, the distances
    :math:`\|z_i - z_j\|` are compared with their targets, the mean over the diffusion times t of the distances
    between diffusion coordinates,

    .. math::
        D_{ij} = \frac{1}{n_t} \sum_t \|c^{(t)}_i - c^{(t)}_j\|.

    Parameters
    ----------
    latent
        Latent coordinates of the cells of one modality, cells x dimensions.
    coordinates
        Diffusion coordinates of the same cells, cells x (components * ``n_blocks``), as in
        ``obsm["X_diffusion_coordinates"]``: the components of the first diffusion time, then of the second, ...
    n_blocks
        Number of diffusion times.
    n_pairs
        Number of random pairs of different cells. If there are no more pairs than that, all are used once.
    %(correlation)s
    random_state
        Seed of the pairs; ``None`` takes ``scvi.settings.seed``, or 0 where there is none.

    Returns
    -------
    The correlation, -1 to 1; NaN if all distances are equal (a collapsed latent space).

    Raises
    ------
    ValueError
        If the lengths differ, a value is NaN or infinite, there are fewer than three cells, the columns cannot be
        divided into ``n_blocks``, or ``n_pairs`` is below 2.

    References
    ----------
    Coifman and Lafon (2006), Diffusion maps, Applied and Computational Harmonic Analysis 21:5,
    doi:10.1016/j.acha.2006.04.006; distances over several times as in Zhang, Yang and Zhang (2022), scDART, Genome
    Biology 23:139, doi:10.1186/s13059-022-02706-x.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import diffusion_distance_correlation
    >>> c = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(diffusion_distance_correlation(2 * c, np.hstack([c, 3 * c]), n_blocks=2), 3)
    1.0
    """
    check_options(diffusion_distance_correlation, locals())
    check_method(method)
    z, targets = check_matrix(latent, "latent"), check_matrix(coordinates, "coordinates")
    check_same_length(z, targets, ("latent", "coordinates"))
    if len(z) < 3:
        raise ValueError(f"`latent` has {len(z)} cells: at least three are needed to correlate distances.")
    check_count(n_blocks, "n_blocks")
    if targets.shape[1] % n_blocks:
        raise ValueError(
            f"`coordinates` has {targets.shape[1]} columns, which is not a multiple of `n_blocks`={n_blocks}: give the "
            "number of diffusion times that the coordinates were computed for."
        )
    check_count(n_pairs, "n_pairs", minimum=2)
    first, second = _pairs(len(z), n_pairs, np.random.default_rng(seed_of(random_state)))
    distance = _block_distances(z, first, second, 1)
    return float(correlate(distance, _block_distances(targets, first, second, n_blocks), method))


def _pairs(n_cells: int, n_pairs: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw pairs of different cells, or take all of them if they are few."""
    if n_cells * (n_cells - 1) // 2 <= n_pairs:
        return np.triu_indices(n_cells, k=1)
    first = rng.integers(n_cells, size=n_pairs)
    return first, (first + rng.integers(1, n_cells, size=n_pairs)) % n_cells


def _block_distances(x: NDArray, first: NDArray, second: NDArray, n_blocks: int) -> NDArray[np.float64]:
    """Mean over the blocks of columns of the Euclidean distances of pairs of rows."""
    distances = np.empty(len(first))
    for start in range(0, len(first), _N_PAIRS_BLOCK):
        rows = slice(start, start + _N_PAIRS_BLOCK)
        difference = (x[first[rows]] - x[second[rows]]).reshape(len(first[rows]), n_blocks, -1)
        distances[rows] = np.linalg.norm(difference, axis=2).mean(axis=1)
    return distances
