"""Diffusion among all cells, or among landmarks that stand for them where there are many."""

from __future__ import annotations

import numpy as np
import scanpy as sc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from ._neighbors import cell_graph, nearest_weights

#: Most cells that are all landmarks. With the number of cells along a trajectory, at the same number of neighbours, the
#: leading eigenvalues approach 1, and each other: the decomposition takes ever longer, and loses its digits.
_MAX_LANDMARKS = 10_000

#: A twentieth of the landmarks are neighbours, within these limits: the order of simulated cells gains up to the upper.
_MIN_NEIGHBORS, _MAX_NEIGHBORS = 30, 100

#: Landmarks that the position of another cell is interpolated from.
_N_NEAREST = 5


class LandmarkGraph:
    """Neighbours among landmarks, and the landmarks that other cells are near to.

    Parameters
    ----------
    z
        Latent coordinates of shape (n_cells, n_latent).
    n_neighbors
        Neighbours of a landmark; `None` takes as many as suit their number.
    random_state
        Seed of the choice of landmarks, and of the decomposition.
    """

    def __init__(self, z: np.ndarray, n_neighbors: int | None = None, *, random_state: int = 0) -> None:
        self._random_state = random_state
        #: Rows of the landmarks, in rising order.
        self.landmarks = np.arange(len(z))
        if len(z) > _MAX_LANDMARKS:
            rng = np.random.default_rng(random_state)
            self.landmarks = np.sort(rng.choice(len(z), _MAX_LANDMARKS, replace=False))
        n_landmarks = len(self.landmarks)
        if n_neighbors is None:
            n_neighbors = int(np.clip(n_landmarks // 20, _MIN_NEIGHBORS, _MAX_NEIGHBORS))
        #: Neighbours of a landmark.
        self.n_neighbors = min(n_neighbors, n_landmarks)
        self._graph = cell_graph(z[self.landmarks], self.n_neighbors, random_state=random_state)
        self._near = sp.identity(len(z), format="csr")
        if n_landmarks < len(z):
            self._near = nearest_weights(z, z[self.landmarks], _N_NEAREST)
        _, self._parts = connected_components(self._graph.obsp["connectivities"], directed=False)
        #: Connected part of every cell.
        self.parts = self._parts[np.asarray(self._near.argmax(axis=1)).ravel()]

    def neighborhood_means(self, values: np.ndarray) -> np.ndarray:
        """Average values of cells, NaN where not known, around every landmark; NaN where none is known."""
        known = np.isfinite(values)
        around = self._graph.obsp["connectivities"] + sp.identity(len(self.landmarks), format="csr")
        total = around @ (self._near.T @ np.where(known, values, 0.0))
        weight = around @ (self._near.T @ known.astype(float))
        return np.divide(total, weight, out=np.full(len(weight), np.nan), where=weight > 0)

    def dpt_coordinates(self, part: int, n_comps: int) -> np.ndarray:
        """Coordinates of the cells of a connected part, in the order of their rows, that have DPT distances."""
        inside = np.flatnonzero(self._parts == part)
        connected = self._graph[inside].copy()
        sc.tl.diffmap(connected, n_comps=min(n_comps, len(inside) - 2), random_state=self._random_state)
        # In single precision, 1 could come out as the eigenvalue of a process that hardly moves.
        rest = np.maximum(1 - connected.uns["diffmap_evals"][1:].astype(float), np.finfo(np.float32).eps)
        y = connected.obsm["X_diffmap"][:, 1:].astype(float) * ((1 - rest) / rest)
        near = self._near[np.flatnonzero(self.parts == part)][:, inside]
        return (near @ y) / np.asarray(near.sum(axis=1)).reshape(-1, 1)
