"""How well the modalities mix in the latent space, cell by cell and branch by branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scdart._docs import fill_in_docs
from scdart._neighbors import nearest
from scdart._options import check_options
from scdart._random import seed_of

from ._checks import check_clouds, check_count, check_labels
from ._distances import squared_distance_blocks
from ._scib import import_scib

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

#: Most neighbours that are searched for: more are counted among the distances of all cells.
_MAX_SEARCHED = 200


@fill_in_docs
def alignment_score(
    z_rna: ArrayLike, z_atac: ArrayLike, *, k: int | None = None, random_state: int | None = None
) -> float:
    r"""Alignment score of two modalities: how little a cell's neighbourhood prefers its own modality.

    .. math::
        1 - \frac{\bar x - k/N}{k - k/N}

    where :math:`\bar x` is the mean number of cells of the same modality among the k nearest neighbours of a cell (the
    cell itself left out) and N = 2 modalities. The larger modality is first sampled down to the size of the smaller.
    0 is full separation, 1 the mixing expected by chance; mates that sit closer than chance can lift it above 1.

    Parameters
    ----------
    %(z_of_modalities)s
    k
        Number of neighbours; by default a tenth of the cells compared.
    random_state
        Seed of the sampling; has no effect on modalities of equal size. ``None`` takes ``scvi.settings.seed``, or
        0 where there is none.

    Returns
    -------
    The score. Memory is linear in the cells, time quadratic.

    Raises
    ------
    ValueError
        If the dimensions differ, a value is NaN or infinite, or ``k`` exceeds the number of other cells compared.

    References
    ----------
    Butler, Hoffman, Smibert, Papalexi and Satija (2018), Integrating single-cell transcriptomic data across different
    conditions, technologies, and species, Nature Biotechnology 36:411, doi:10.1038/nbt.4096.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import alignment_score
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> round(alignment_score(z[:200], z[200:]), 1)
    1.0
    >>> alignment_score(z[:200], z[200:] + 100)
    0.0
    """
    check_options(alignment_score, locals())
    rna, atac = check_clouds(z_rna, z_atac, ("z_rna", "z_atac"))
    return _alignment(rna, atac, k, np.random.default_rng(seed_of(random_state)))


@fill_in_docs
def branch_alignment(
    z_rna: ArrayLike,
    branches_rna: ArrayLike,
    z_atac: ArrayLike,
    branches_atac: ArrayLike,
    *,
    k: int | None = None,
    random_state: int | None = None,
) -> pd.DataFrame:
    """Alignment score of every RNA branch with every ATAC branch.

    Each entry is :func:`alignment_score` of the cells of one branch in RNA and one in ATAC. A good integration has
    values near 1 where the branches are the same and near 0 elsewhere; the mean of the former minus the mean of the
    latter says how well the lineages are kept apart.

    Parameters
    ----------
    z_rna
        Latent coordinates of RNA cells, cells x dimensions.
    branches_rna
        Branch (or cell type) of every RNA cell.
    z_atac
        Latent coordinates of ATAC cells, cells x dimensions.
    branches_atac
        Branch of every ATAC cell.
    k
        Number of neighbours; by default, for each pair of branches, a tenth of the cells compared.
    random_state
        Seed of the sampling that makes the two branches equal in size; ``None`` takes ``scvi.settings.seed``, or 0
        where there is none.

    Returns
    -------
    Scores, RNA branches (index) x ATAC branches (columns).

    Raises
    ------
    ValueError
        If lengths or dimensions do not fit, a value is NaN, a label is missing, or ``k`` exceeds the number of other
        cells in the comparison of some pair of branches.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import branch_alignment
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> z[200:] += 100
    >>> branch = np.repeat(["stem", "tip"], 200)
    >>> branch_alignment(z[::2], branch[::2], z[1::2], branch[1::2]).round(1).to_numpy()
    array([[1., 0.],
           [0., 1.]])
    """
    check_options(branch_alignment, locals())
    rna, atac = check_clouds(z_rna, z_atac, ("z_rna", "z_atac"))
    of_rna = check_labels(branches_rna, "branches_rna", n_cells=len(rna))
    of_atac = check_labels(branches_atac, "branches_atac", n_cells=len(atac))
    rng = np.random.default_rng(seed_of(random_state))
    index, columns = np.unique(of_rna), np.unique(of_atac)
    scores = [[_alignment(rna[of_rna == i], atac[of_atac == j], k, rng) for j in columns] for i in index]
    return pd.DataFrame(scores, index=pd.Index(index, name="rna"), columns=pd.Index(columns, name="atac"))


@fill_in_docs
def modality_mixing(z_rna: ArrayLike, z_atac: ArrayLike, *, k: int = 90) -> float:
    r"""Integration LISI of the modalities: the effective number of modalities around a cell, scaled.

    With :math:`p_i(m)` the share of modality m among the neighbours of cell i, weighted by a Gaussian of perplexity
    k / 3,

    .. math::
        \operatorname{median}_i \frac{1}{\sum_m p_i(m)^2} - 1.

    0 is full separation, 1 an even mix. With unequal numbers of cells even a perfect mix stays below 1. Computed by
    scib-metrics on exact neighbours.

    Parameters
    ----------
    %(z_of_modalities)s
    k
        Number of neighbours, the cell itself included, as in scib-metrics; at least 6 (a perplexity of 2).

    %(from_0_to_1)s

    Raises
    ------
    ValueError
        If the dimensions differ, a value is NaN or infinite, or ``k`` is out of range.
    %(needs_scib)s

    References
    ----------
    Korsunsky et al. (2019), Fast, sensitive and accurate integration of single-cell data with Harmony, Nature Methods
    16:1289, doi:10.1038/s41592-019-0619-0; scaled as in Luecken et al. (2022), Nature Methods 19:41,
    doi:10.1038/s41592-021-01336-8.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import modality_mixing
    >>> z = np.random.default_rng(0).normal(size=(400, 4))
    >>> modality_mixing(z[:200], z[200:]) > 0.8
    True
    >>> modality_mixing(z[:200], z[200:] + 100)
    0.0
    """
    check_options(modality_mixing, locals())
    rna, atac = check_clouds(z_rna, z_atac, ("z_rna", "z_atac"))
    return ilisi(np.concatenate([rna, atac]), _modality(len(rna), len(atac)), k)


def ilisi(z: NDArray, labels: NDArray, k: int) -> float:
    """Scaled iLISI of the labels of cells, by scib-metrics on exact neighbours, among which is the cell itself."""
    check_count(k, "k", minimum=6, maximum=len(z), of="all cells")
    found = nearest(z, z, n_neighbors=k, algorithm="auto")
    neighbors = import_scib("scib_metrics.nearest_neighbors").NeighborsResults(**found._asdict())
    return float(import_scib().ilisi_knn(neighbors, labels))


def _modality(n_rna: int, n_atac: int) -> NDArray[np.intp]:
    """Modality of the rows of RNA cells stacked on ATAC cells."""
    return np.repeat([0, 1], [n_rna, n_atac])


def _alignment(rna: NDArray, atac: NDArray, k: int | None, rng: np.random.Generator) -> float:
    n = min(len(rna), len(atac))
    if k is None:
        k = max(1, round(0.1 * 2 * n))
    check_count(k, "k", maximum=2 * n - 1, of="the other cells compared after sampling to equal numbers")
    z = np.concatenate([z if len(z) == n else rng.choice(z, n, replace=False) for z in (rna, atac)])
    n_same = neighbors_of_same_label(z, _modality(n, n), k).mean()
    return float(1 - (n_same - k / 2) / (k - k / 2))


def neighbors_of_same_label(z: NDArray, labels: NDArray, k: int) -> NDArray[np.float64]:
    """Count, per cell, those of the k nearest other cells with its own label (modality, batch).

    Where cells are as near as the furthest of them, by expectation over their random order.
    """
    if k > _MAX_SEARCHED or k + 1 >= len(z):
        return _by_all_distances(z, labels, k, np.arange(len(z)))
    found = nearest(z, n_neighbors=k + 1, algorithm="auto")
    n_same = (labels[found.indices[:, :k]] == labels[:, None]).sum(axis=1).astype(float)
    # A search knows neither how many cells are tied nor, to the last bit, whether they are.
    tied = np.flatnonzero(found.distances[:, k] <= found.distances[:, k - 1] * (1 + 1e-6))
    n_same[tied] = _by_all_distances(z, labels, k, tied)
    return n_same


def _by_all_distances(z: NDArray, labels: NDArray, k: int, cells: NDArray[np.intp]) -> NDArray[np.float64]:
    n_same = np.empty(len(cells))
    if not len(cells):
        return n_same
    for rows, distance in squared_distance_blocks(z[cells], z):
        own = cells[rows]
        distance[np.arange(len(own)), own] = np.inf
        radius = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
        same = labels[own, None] == labels
        closer, tied = distance < radius, distance == radius
        share = (tied & same).sum(axis=1) / tied.sum(axis=1)
        n_same[rows] = (closer & same).sum(axis=1) + (k - closer.sum(axis=1)) * share
    return n_same
