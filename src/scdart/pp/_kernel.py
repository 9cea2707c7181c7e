"""The graph of cells: alpha-decay kernel on nearest neighbours, exact for few cells and approximate for many."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scdart._neighbors import Neighbors, is_exact, nearest

#: Exponent of the kernel and the affinity below which cells are not linked: the defaults of graphtools.
_DECAY = 40
_THRESHOLD = 1e-4

#: Nearest cells that can be linked to a cell, in units of `n_neighbors`. The kernel ends at 1.06 bandwidths: on real
#: and simulated cells, 10 hold all of it, and 3, which are what approximate search has time for, 99.9% of its mass.
_CANDIDATES_EXACT = 20
_CANDIDATES_APPROXIMATE = 3


def alpha_decay_kernel(features: np.ndarray, n_neighbors: int = 5, *, random_state: int = 0) -> sp.csr_matrix:
    r"""Link near cells with weights that fall steeply beyond the distance of a cell's neighbours.

    .. math:: K_{ij} = \tfrac12 (A_{ij} + A_{ji}),\qquad A_{ij} = \exp\bigl(-(d_{ij} / \sigma_i)^{40}\bigr)

    with :math:`\sigma_i` the distance from cell i to its `n_neighbors`-th neighbour, and :math:`A_{ij} = 0` where it is
    below :math:`10^{-4}`.

    Parameters
    ----------
    features
        Coordinates of shape (n_cells, n_features), finite.
    n_neighbors
        Neighbour that sets the bandwidth, the cell itself not counted; less than n_cells. Where it coincides with the
        cell, the bandwidth is the distance to the nearest cell that does not.
    random_state
        Seed of the approximate search.

    Returns
    -------
    Symmetric kernel of shape (n_cells, n_cells), float64, with ones on the diagonal.

    References
    ----------
    Moon et al. (2019), Nature Biotechnology 37:1482, the kernel; as in ``graphtools.Graph(features, knn=n_neighbors)``.
    """
    # Far from the origin, distances lose digits.
    features = features - features.mean(axis=0, dtype=np.float64)
    distances, indices = _candidates(features, n_neighbors, random_state)
    # Search by |x|^2 - 2xy + |y|^2 knows distances to half the digits of the norms.
    coincident = 1e-6 * np.linalg.norm(features, axis=1).max()

    bandwidth = distances[:, n_neighbors].copy()
    duplicated = np.flatnonzero(bandwidth <= coincident)
    if len(duplicated):
        others = np.where(distances[duplicated] > coincident, distances[duplicated], np.inf).min(axis=1)
        bandwidth[duplicated] = np.where(np.isfinite(others), others, 1.0)

    with np.errstate(over="ignore"):  # to an affinity of 0
        affinities = np.exp(-((distances / bandwidth[:, None]) ** _DECAY))
    rows, columns = np.nonzero(affinities >= _THRESHOLD)
    entries = affinities[rows, columns], (rows, indices[rows, columns])
    directed = sp.csr_matrix(entries, shape=(len(features), len(features)))
    kernel = (directed + directed.T) / 2
    # Among many duplicates, a cell need not be among its own nearest.
    return kernel.maximum(sp.identity(len(features), format="csr")).tocsr()


def _candidates(features: np.ndarray, n_neighbors: int, random_state: int) -> Neighbors:
    """Cells nearest to each, itself included: all that the kernel can link, or most of it where search is costly."""
    if is_exact(len(features), len(features)):
        n_candidates = min(_CANDIDATES_EXACT * n_neighbors + 1, len(features))
        return nearest(features, features, n_neighbors=n_candidates)
    n_candidates = _CANDIDATES_APPROXIMATE * n_neighbors + 1
    return nearest(features, features, n_neighbors=n_candidates, algorithm="approximate", random_state=random_state)
