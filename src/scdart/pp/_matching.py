"""Soft nearest neighbours between two clouds of cells, and how much of either cloud has a counterpart."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors

#: Weight of the furthest neighbour is exp(-1 / (2 * 0.5^2)) of a coincident one's.
_BANDWIDTH = 0.5

#: Quantile at which the received mass of single cells is cut: hubs would lend their confidence to all around them.
_HUB_QUANTILE = 0.95


def soft_neighbors(
    query: np.ndarray, reference: np.ndarray, n_neighbors: int, candidates: np.ndarray | None = None
) -> sp.csr_matrix:
    r"""Weigh the nearest reference cells of every query cell.

    .. math:: w_{ij} \propto \exp\Bigl(-\tfrac12 \bigl(2 d_{ij} / d_{i,\max}\bigr)^2\Bigr)

    with :math:`d_{i,\max}` the distance to the furthest of the neighbours.

    Parameters
    ----------
    query
        Coordinates of shape (n_query, n_components).
    reference
        Coordinates of shape (n_reference, n_components).
    n_neighbors
        Neighbours of a cell; all candidates where there are fewer.
    candidates
        Rows of `reference` that can be neighbours; by default all. Cost is their number times that of query cells.

    Returns
    -------
    Weights of shape (n_query, n_reference), rows sum to 1.
    """
    candidates = np.arange(len(reference)) if candidates is None else candidates
    n_neighbors = min(n_neighbors, len(candidates))
    # Trees are slower than comparing all: cells of a type are about equally far from each other.
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(reference[candidates])
    distances, indices = search.kneighbors(query)
    bandwidth = np.maximum(_BANDWIDTH * distances[:, [-1]], np.finfo(np.float32).tiny)
    weights = np.exp(-0.5 * (distances / bandwidth) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    starts = np.arange(0, weights.size + 1, n_neighbors)
    return sp.csr_matrix((weights.ravel(), candidates[indices].ravel(), starts), shape=(len(query), len(reference)))


def counterpart_confidence(
    received: np.ndarray, shared: np.ndarray, own: np.ndarray, n_neighbors: int, candidates: np.ndarray | None = None
) -> np.ndarray:
    """Tell cells that the other modality has from cells that it lacks.

    If cells of the other modality each hand out a mass of 1 to their neighbours, cells that they lack receive little.
    Single cells receive it by chance, so it is averaged, first over neighbours in the cells' own modality, which
    separates populations that the shared coordinates confuse, then over neighbours in the shared coordinates.

    Parameters
    ----------
    received
        Mass that each cell receives, of shape (n_cells,).
    shared
        Coordinates that both modalities share, of shape (n_cells, n_components).
    own
        Coordinates of the candidates in their own modality, of shape (n_candidates, n_features).
    n_neighbors
        Neighbours to average over.
    candidates
        Rows that could receive mass; by default all.

    Returns
    -------
    Confidence in [0, 1] of shape (n_cells,): received mass in units of what cells with a counterpart receive: the
    median over the mass, not over the cells, so that cells that the other modality lacks do not lower it.
    """
    candidates = np.arange(len(received)) if candidates is None else candidates
    mass = received[candidates]
    mass = soft_neighbors(own, own, n_neighbors) @ np.minimum(mass, np.quantile(mass, _HUB_QUANTILE))
    mass = soft_neighbors(shared, shared[candidates], n_neighbors) @ mass
    return np.minimum(mass / _typical(mass), 1.0)


def _typical(mass: np.ndarray) -> float:
    """Median over the mass: half of it is received by cells that receive more."""
    ordered = np.sort(mass)
    return ordered[np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)]
