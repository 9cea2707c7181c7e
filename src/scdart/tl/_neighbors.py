"""Neighbours in the latent space: the graph of all cells, and the nearest cells of another modality."""

from __future__ import annotations

from typing import Any

import numpy as np
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData

from scdart._neighbors import Algorithm, is_exact, nearest
from scdart._process import threads_kept


def cell_graph(z: np.ndarray, n_neighbors: int, *, random_state: int = 0) -> AnnData:
    """Link every cell with its nearest, as scanpy does.

    Parameters
    ----------
    z
        Latent coordinates of shape (n_cells, n_latent).
    n_neighbors
        Neighbours of a cell, itself included; all where there are fewer.
    random_state
        Seed of the approximate search.

    Returns
    -------
    AnnData without features that holds the graph where functions of scanpy look for it.
    """
    n_neighbors = min(n_neighbors, len(z))
    transformer: Any = "sklearn"
    if not is_exact(len(z), len(z)):
        transformer = _approximate_neighbors(n_neighbors, random_state)
    graph = AnnData(np.zeros((len(z), 0), dtype=np.float32), obsm={"z": z})
    with threads_kept():
        sc.pp.neighbors(graph, n_neighbors, use_rep="z", transformer=transformer, random_state=random_state)
    return graph


def _approximate_neighbors(n_neighbors: int, random_state: int) -> Any:
    from pynndescent import PyNNDescentTransformer  # here, since it takes as long to import as all else together

    class ApproximateNeighbors(PyNNDescentTransformer):
        """Approximate neighbours in the format that scanpy reads, which is a matrix in any version of pynndescent."""

        def fit_transform(self, x: np.ndarray, y: Any = None, **kwargs: Any) -> sp.csr_matrix:
            return sp.csr_matrix(super().fit_transform(x, y, **kwargs))

    return ApproximateNeighbors(n_neighbors=n_neighbors, random_state=random_state)


def nearest_weights(
    query: np.ndarray, reference: np.ndarray, n_neighbors: int, *, random_state: int = 0
) -> sp.csr_matrix:
    r"""Weigh the nearest reference cells of every query cell.

    .. math:: w_{ij} \propto \exp(-d_{ij} / d_{ik})

    with :math:`d_{ik}` the distance to the furthest of the k neighbours.

    Parameters
    ----------
    query
        Coordinates of shape (n_query, n_latent).
    reference
        Coordinates of shape (n_reference, n_latent).
    n_neighbors
        Neighbours of a cell; all reference cells where there are fewer.
    random_state
        Seed of the approximate search.

    Returns
    -------
    Weights of shape (n_query, n_reference), float32, rows sum to 1.
    """
    n_neighbors = min(n_neighbors, len(reference))
    algorithm: Algorithm = "brute" if is_exact(len(query), len(reference)) else "approximate"
    found = nearest(query, reference, n_neighbors=n_neighbors, algorithm=algorithm, random_state=random_state)
    return found.weights(lambda relative: np.exp(-relative), len(reference)).astype(np.float32)
