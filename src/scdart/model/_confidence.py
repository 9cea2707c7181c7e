"""How well two clouds of cells in one space cover one another, cell by cell."""

from __future__ import annotations

import numpy as np

from scdart._neighbors import Algorithm, Neighbors, nearest

#: Most cells of a modality that others are compared with: beyond, cost is linear in the number of cells.
_MAX_REFERENCE = 20_000

#: Most dimensions, and fewest cells, for which a tree is quicker than comparing all pairs.
_MAX_DIMENSIONS = 15
_MIN_CELLS = 12

#: Cells whose ways are followed at a time.
_CHUNK = 1024


def round_trip_confidence(
    own: np.ndarray, other: np.ndarray, n_neighbors: int, seed: int, anchored: np.ndarray | None = None
) -> np.ndarray:
    """Compare the way to the other cloud and back with the distance to a cell's neighbours in its own.

    Parameters
    ----------
    own
        Cells of shape (n_own, n_latent).
    other
        Cells of shape (n_other, n_latent).
    n_neighbors
        Nearest cells to take at each turn, fewer than there are.
    seed
        Seed of the sample of cells that is compared with.
    anchored
        Confidence in the anchors of the cells, of shape (n_own,), found before training pulled the clouds together; by
        default full.

    Returns
    -------
    Shape (n_own,), in [0, 1]: the mean over a cell's neighbours, half of which goes with their anchors.
    """
    rng = np.random.default_rng(seed)
    sample = {name: _sample(len(z), rng) for name, z in (("own", own), ("other", other))}
    own_reference, other_reference = own[sample["own"]], other[sample["other"]]
    # A cell of the reference finds itself, at no distance, in the first place.
    distance, neighbors = _nearest(own, own_reference, n_neighbors + 1)
    spread = distance[:, :-1].mean(axis=1)
    spread[sample["own"]] = distance[sample["own"], 1:].mean(axis=1)
    there = _nearest(own, other_reference, n_neighbors).indices
    back = _nearest(other_reference, own_reference, n_neighbors).indices

    confidence = np.ones(len(own))
    for start in range(0, len(own), _CHUNK):
        rows = slice(start, start + _CHUNK)
        ends = own_reference[back[there[rows]].reshape(len(there[rows]), -1)]
        way = np.linalg.norm(ends - own[rows, None], axis=2).mean(axis=1)
        np.divide(spread[rows], way, out=confidence[rows], where=way > 0)
    confidence = np.minimum(confidence, 1.0)
    around = sample["own"][neighbors]
    found = confidence[around].mean(axis=1)
    return found if anchored is None else found * (1 + anchored[around].mean(axis=1)) / 2


def _nearest(query: np.ndarray, reference: np.ndarray, n_neighbors: int) -> Neighbors:
    n_cells, n_dimensions = reference.shape
    algorithm: Algorithm = "kd_tree" if n_dimensions <= _MAX_DIMENSIONS and n_cells >= _MIN_CELLS else "brute"
    return nearest(query, reference, n_neighbors=n_neighbors, algorithm=algorithm)


def _sample(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(n)[:_MAX_REFERENCE])
