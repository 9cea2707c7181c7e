"""How close the two measurements of the same cell come to each other in the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import paired_cosine_distances

from scdart._docs import fill_in_docs
from scdart._options import check_options

from ._checks import check_count, check_mates
from ._distances import squared_distance_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray


@fill_in_docs
def foscttm(z_rna: ArrayLike, z_atac: ArrayLike) -> float:
    r"""Fraction of samples closer than the true match.

    For every cell, the share of the other modality's cells that lie closer to it than its own measurement in that
    modality does; averaged over the cells and over both directions:

    .. math::
        \frac{1}{2n(n-1)} \sum_i \Bigl(
            \bigl|\{j \neq i: d(x_i, y_j) < d(x_i, y_i)\}\bigr| + \bigl|\{j \neq i: d(x_j, y_i) < d(x_i, y_i)\}\bigr|
        \Bigr)

    A cell exactly as far as the true match counts one half, so a latent space collapsed to a point scores 0.5, as a
    random one does. 0 is perfect.

    Parameters
    ----------
    %(z_of_mates)s

    Returns
    -------
    A number between 0 and 1. Memory is linear in the cells, time quadratic.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, or there are fewer than two cells.

    References
    ----------
    Liu, Huang, Singh, Vert and Noble (2019), Jointly embedding multiple single-cell omics measurements, WABI,
    doi:10.4230/LIPIcs.WABI.2019.10.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import foscttm
    >>> z = np.array([[0.0], [1.0], [3.0]])
    >>> foscttm(z, z)
    0.0
    >>> round(foscttm(z, z[[1, 0, 2]]), 2)
    0.33
    """
    rna, atac = check_mates(z_rna, z_atac)
    mate = _squared_mate_distances(rna, atac)
    n_closer, n_tied = 0, 0
    for rows, distance in squared_distance_blocks(rna, atac):
        np.fill_diagonal(distance[:, rows], np.inf)
        for of_rows_or_columns in (mate[rows, None], mate):
            n_closer += int(np.count_nonzero(distance < of_rows_or_columns))
            n_tied += int(np.count_nonzero(distance == of_rows_or_columns))
    return (n_closer + 0.5 * n_tied) / len(rna) / (2 * (len(rna) - 1))


@overload
def neighborhood_overlap(z_rna: ArrayLike, z_atac: ArrayLike, k: int) -> float: ...
@overload
def neighborhood_overlap(z_rna: ArrayLike, z_atac: ArrayLike, k: Sequence[int]) -> NDArray[np.float64]: ...
@fill_in_docs
def neighborhood_overlap(z_rna: ArrayLike, z_atac: ArrayLike, k: int | Sequence[int]) -> float | NDArray[np.float64]:
    r"""Fraction of cells whose other measurement is among their k nearest neighbours in the joint latent space.

    .. math::
        \frac{1}{2n} \sum_i \bigl(\mathbb{1}[y_i \in N_k(x_i)] + \mathbb{1}[x_i \in N_k(y_i)]\bigr)

    where :math:`N_k` are the k nearest of all 2n points, **the point itself included** as the first. Among points at
    the same distance, the expectation over their random order is taken. 1 is perfect; random mates score about k / 2n.

    Parameters
    ----------
    %(z_of_mates)s
    k
        Size of the neighbourhood, or several sizes for a curve, each between 1 and twice the number of cells.

    Returns
    -------
    A number between 0 and 1 for one ``k``; for several, an array with one number each. All sizes cost one pass. Memory
    is linear in the cells, time quadratic.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, there are fewer than two cells, or ``k`` is out of range.

    %(scdart_paper)s

    Examples
    --------
    >>> import numpy as np
    >>> from scdart.metrics import neighborhood_overlap
    >>> z_rna = np.array([[0.0], [10.0], [20.0]])
    >>> neighborhood_overlap(z_rna, z_rna + 1, k=2)
    1.0
    >>> neighborhood_overlap(z_rna, z_rna[::-1] + 1, k=[2, 6]).round(2)
    array([0.33, 1.  ])
    """
    check_options(neighborhood_overlap, locals())
    rna, atac = check_mates(z_rna, z_atac)
    n = len(rna)
    sizes = [check_count(size, "k", maximum=2 * n, of="all measurements") for size in np.atleast_1d(k).tolist()]
    if not sizes:
        raise ValueError("`k` is empty: give at least one neighbourhood size.")
    mate = _squared_mate_distances(rna, atac)
    overlap = np.zeros(len(sizes))
    for query, other in ((rna, atac), (atac, rna)):
        closer, tied = np.add(_closer_and_tied(query, other, mate), _closer_and_tied(query, query, mate))
        # The point itself takes the first place, the closer ones the next; the mate is one of `tied + 1` points after.
        for i, size in enumerate(sizes):
            overlap[i] += np.clip((size - 1 - closer) / (tied + 1), 0, 1).mean() / 2
    return float(overlap[0]) if np.ndim(k) == 0 else overlap


@fill_in_docs
def matching_cosine(z_rna: ArrayLike, z_atac: ArrayLike) -> float:
    r"""Mean cosine similarity of the two measurements of a cell.

    .. math::
        \frac{1}{n} \sum_i \frac{x_i \cdot y_i}{\|x_i\| \, \|y_i\|}

    1 is perfect. The value depends on where the origin of the latent space lies: compare only latent spaces that are
    centred alike.

    Parameters
    ----------
    %(z_of_mates)s

    Returns
    -------
    A number between -1 and 1.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, there are fewer than two cells, or a cell lies at the origin.

    %(scdart_paper)s

    Examples
    --------
    >>> from scdart.metrics import matching_cosine
    >>> matching_cosine([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]])
    0.5
    """
    rna, atac = check_mates(z_rna, z_atac)
    for name, z in (("z_rna", rna), ("z_atac", atac)):
        if n_zero := int((~z.any(axis=1)).sum()):
            raise ValueError(f"{n_zero} cells of `{name}` lie at the origin, where the cosine is not defined.")
    return float(1 - paired_cosine_distances(rna, atac).mean())


@fill_in_docs
def matching_distance(z_rna: ArrayLike, z_atac: ArrayLike, *, scaled: bool = False) -> float:
    r"""Mean Euclidean distance between the two measurements of a cell.

    .. math::
        \frac{1}{n} \sum_i \|x_i - y_i\|

    0 is perfect. The distance is in units of the latent space. To compare latent spaces of different scale, divide it
    by the root mean square of the distances between all RNA and all ATAC measurements,
    :math:`\sqrt{n^{-2} \sum_{ij} \|x_i - y_j\|^2}` (``scaled=True``): random mates then score just below 1.

    Parameters
    ----------
    %(z_of_mates)s
    scaled
        Whether to divide by the root mean square distance between the modalities.

    Returns
    -------
    A number of at least 0; NaN if ``scaled`` and all cells lie on one point.

    Raises
    ------
    ValueError
        If the shapes differ, a value is NaN or infinite, or there are fewer than two cells.

    %(scdart_paper)s

    Examples
    --------
    >>> from scdart.metrics import matching_distance
    >>> matching_distance([[0.0, 0.0], [1.0, 0.0]], [[3.0, 4.0], [1.0, 1.0]])
    3.0
    """
    check_options(matching_distance, locals())
    rna, atac = check_mates(z_rna, z_atac)
    distance = np.linalg.norm(rna - atac, axis=1).mean()
    if not scaled:
        return float(distance)
    # mean_ij |x_i - y_j|^2 = (spread of x) + (spread of y) + (distance of the means)^2, linear in the cells
    mean_square = rna.var(axis=0).sum() + atac.var(axis=0).sum() + ((rna.mean(axis=0) - atac.mean(axis=0)) ** 2).sum()
    return float(distance / np.sqrt(mean_square)) if mean_square > 0 else float("nan")


def _squared_mate_distances(rna: NDArray, atac: NDArray, n_block: int = 64) -> NDArray[np.float64]:
    """Squared distance of each cell to its mate, by the routine of the blocks, so that ties compare equal."""
    blocks = (slice(start, start + n_block) for start in range(0, len(rna), n_block))
    return np.concatenate([cdist(rna[rows], atac[rows], metric="sqeuclidean").diagonal() for rows in blocks])


def _closer_and_tied(query: NDArray, points: NDArray, mate: NDArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Count, per row i of ``query``, the ``points`` closer than ``mate[i]`` and those as far; point i is left out."""
    closer = np.empty(len(query), dtype=np.intp)
    tied = np.empty(len(query), dtype=np.intp)
    for rows, distance in squared_distance_blocks(query, points):
        np.fill_diagonal(distance[:, rows], np.inf)  # the mate in the other modality, the cell itself in its own
        closer[rows] = np.count_nonzero(distance < mate[rows, None], axis=1)
        tied[rows] = np.count_nonzero(distance == mate[rows, None], axis=1)
    return closer, tied
