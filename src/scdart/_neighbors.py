"""Nearest neighbours: one search and one type of result for the whole package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

from scdart._process import threads_kept

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: Most cells for exact search. Comparing all pairs takes as long as approximate search, which is compiled first for
#: half a minute, at about 90,000 cells.
MAX_EXACT = 50_000

#: Least neighbours in the graph that approximate search walks along: with fewer it gets lost.
_MIN_LINKS = 30

Algorithm = Literal["brute", "kd_tree", "auto", "approximate"]


class Neighbors(NamedTuple):
    """The nearest reference cells of every query cell, the nearest first.

    Attributes
    ----------
    distances
        Shape (n_query, n_neighbors).
    indices
        Rows of the reference, shape (n_query, n_neighbors).
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.integer]

    def weights(self, kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]], n_reference: int) -> sp.csr_matrix:
        r"""Weigh the neighbours by their distance relative to that of the furthest.

        .. math:: w_{ij} \propto k(d_{ij} / d_{i,\max})

        Where all neighbours coincide with the cell, they count the same.

        Parameters
        ----------
        kernel
            Function :math:`k` of relative distances in [0, 1].
        n_reference
            Number of reference cells.

        Returns
        -------
        Shape (n_query, n_reference), rows sum to 1.
        """
        weights = kernel(self.distances / np.maximum(self.distances[:, [-1]], np.finfo(np.float64).tiny))
        return self.to_csr(weights / weights.sum(axis=1, keepdims=True), n_reference)

    def to_csr(self, values: NDArray, n_reference: int) -> sp.csr_matrix:
        """Put a value for each neighbour, (n_query, n_neighbors), into a matrix of shape (n_query, n_reference)."""
        n_query, n_neighbors = self.indices.shape
        starts = np.arange(0, n_query * n_neighbors + 1, n_neighbors)
        return sp.csr_matrix((values.ravel(), self.indices.ravel(), starts), shape=(n_query, n_reference))


def is_exact(n_query: int, n_reference: int) -> bool:
    """Tell whether so few pairs of cells are compared that exact search is the quicker one."""
    return n_query * n_reference <= MAX_EXACT**2


def nearest(
    query: NDArray,
    reference: NDArray | None = None,
    *,
    n_neighbors: int,
    algorithm: Algorithm = "brute",
    random_state: int = 0,
) -> Neighbors:
    """Find the nearest reference cells of every query cell.

    Parameters
    ----------
    query
        Coordinates of shape (n_query, n_features).
    reference
        Coordinates of shape (n_reference, n_features). If not given, those of the query cells, of which none is its own
        neighbour; of `query` itself as `reference`, every cell is.
    n_neighbors
        Neighbours of a cell, at most as many as there are.
    algorithm
        ``"brute"`` compares all pairs, in any number of dimensions as quickly as a tree in ten. It knows distances to
        half the digits of the coordinates' norms, so that a cell need not be at no distance from itself: a tree
        (``"kd_tree"``, or ``"auto"`` where dimensions are few) does not have this flaw. ``"approximate"`` needs a
        `reference`, and where that is `query`, marks neighbours that it did not find by an infinite distance.
    random_state
        Seed of the approximate search.

    Examples
    --------
    >>> import numpy as np
    >>> from scdart._neighbors import nearest
    >>> places = np.array([[0.0], [1.0], [3.0]])
    >>> nearest(places, n_neighbors=1).indices.ravel().tolist()
    [1, 0, 1]
    >>> found = nearest(np.array([[2.5]]), places, n_neighbors=2)
    >>> found.distances.tolist()
    [[0.5, 1.5]]
    >>> found.weights(lambda relative: 1 - relative / 2, len(places)).toarray().round(3).tolist()
    [[0.0, 0.375, 0.625]]
    """
    if algorithm == "approximate":
        assert reference is not None
        return _approximate(query, reference, n_neighbors, random_state)
    if reference is not None and query.dtype != reference.dtype:
        # Of two types, scikit-learn takes fifteen times as long, and keeps a gigabyte of distances.
        common = np.result_type(query, reference)
        query, reference = query.astype(common, copy=False), reference.astype(common, copy=False)
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm=algorithm).fit(
        query if reference is None else reference
    )
    return Neighbors(*search.kneighbors(None if reference is None else query))


def _approximate(query: NDArray, reference: NDArray, n_neighbors: int, random_state: int) -> Neighbors:
    from pynndescent import NNDescent  # here, since it takes as long to import as all else together

    from scdart._progress import parts  # and this needs scvi-tools

    points = reference.astype(np.float32)
    with threads_kept(), parts("Neighbours", 1) as begin:
        begin(f"of {len(query):,} cells among {len(points):,}, approximately")
        if query is reference:
            # The graph that the search is about to walk along is all that is asked for.
            indices, distances = NNDescent(points, n_neighbors=n_neighbors, random_state=random_state).neighbor_graph
            distances = np.where(indices < 0, np.inf, distances)
        else:
            search = NNDescent(points, n_neighbors=max(n_neighbors, _MIN_LINKS), random_state=random_state)
            indices, distances = search.query(query.astype(np.float32), k=n_neighbors)
    return Neighbors(distances.astype(np.float64), indices)
