"""Where a cell lies among the others of its modality, told so that both modalities give the same answer.

Two cells of different modalities can look alike in the features that both share and yet lie in different places: one
at a fork, the other in the middle of a branch that the other modality lacks. Distances along the manifold tell them
apart. They are measured within a modality, to cells that are known to have partners, so that they can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from scdart._neighbors import nearest

if TYPE_CHECKING:
    from ._anchor_settings import AnchorSettings


class Partners(NamedTuple):
    """Partners of one modality's cells in the other, and the confidence in these cells.

    Attributes
    ----------
    weights
        Weights of shape (n_own, n_other), rows sum to 1.
    confidence
        Shape (n_own,), in [0, 1].
    """

    weights: sp.csr_matrix
    confidence: np.ndarray


def knn_graph(own: np.ndarray, n_neighbors: int) -> sp.csr_matrix:
    """Link every cell to its nearest ones, with their distances.

    Parameters
    ----------
    own
        Coordinates of cells in their own modality, of shape (n_cells, n_features).
    n_neighbors
        Cells that a cell is linked to; all others where there are fewer.
    """
    found = nearest(own, n_neighbors=min(n_neighbors, len(own) - 1))
    # A sparse matrix would forget the link between cells that coincide.
    return found.to_csr(np.maximum(found.distances, np.finfo(np.float32).tiny), len(own))


def relative_positions(
    rna_graph: sp.csr_matrix,
    atac_graph: sp.csr_matrix,
    atac_of_rna: Partners,
    rna_of_atac: Partners,
    settings: AnchorSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Place cells by their distances, along their own modality, to pairs of partners.

    .. math:: p_{ik} = \sqrt{d_{ik} / (K \bar d)}

    with :math:`d_{ik}` the length of the shortest path from cell i to its modality's side of pair k of K, and
    :math:`\bar d` the median length between two pairs in that modality: then neither the scale nor the noise of a
    modality's features matters. The root keeps single wrong pairs from outweighing the others. Of both modalities'
    positions together, the leading principal components are taken.

    Parameters
    ----------
    rna_graph, atac_graph
        Links with distances of shape (n_rna, n_rna) and (n_atac, n_atac), of :func:`knn_graph`.
    atac_of_rna, rna_of_atac
        Partners of either modality's cells.
    settings
        How many pairs are drawn, and how many components are kept.
    rng
        Draws the pairs, more often where cells and their partners can be trusted.

    Returns
    -------
    Positions of shape (n_rna, n_components) and (n_atac, n_components), all the same where no pair can be trusted.
    """
    by_rna = _milestones(atac_of_rna, rna_of_atac, settings, rng)
    by_atac = _milestones(rna_of_atac, atac_of_rna, settings, rng)
    of_rna, of_atac = np.concatenate([by_rna[0], by_atac[1]]), np.concatenate([by_rna[1], by_atac[0]])
    if not len(of_rna):
        rna, atac = (np.zeros((graph.shape[0], settings.n_position_components)) for graph in (rna_graph, atac_graph))
        return rna, atac
    both = np.concatenate([_sqrt_geodesics(rna_graph, of_rna), _sqrt_geodesics(atac_graph, of_atac)])
    both -= both.mean(axis=0)
    _, axes = np.linalg.eigh(both.T @ both)
    both = both @ axes[:, ::-1][:, : settings.n_position_components]
    return both[: rna_graph.shape[0]], both[rna_graph.shape[0] :]


def _milestones(
    own: Partners, other: Partners, settings: AnchorSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw cells of one modality, each with the best of its partners."""
    trust = (own.confidence * (own.weights @ other.confidence)) ** settings.trust_power
    n_drawn = min(settings.n_milestones, int(np.count_nonzero(trust)))
    if not n_drawn:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    cells = rng.choice(len(trust), n_drawn, replace=False, p=trust / trust.sum())
    weights = own.weights[cells] @ sp.diags(other.confidence)
    return cells, np.asarray(weights.argmax(axis=1)).ravel()


def _sqrt_geodesics(graph: sp.csr_matrix, milestones: np.ndarray) -> np.ndarray:
    """Roots of the lengths of paths from all cells, (n_cells, n_milestones), scaled to compare modalities."""
    # Undirected: a path also leads from a cell to those that count it among their nearest.
    lengths = dijkstra(graph, directed=False, indices=milestones).T
    reached = np.isfinite(lengths)
    # Parts that no path connects are as far apart as anything that is connected.
    lengths[~reached] = lengths[reached].max()
    between = lengths[milestones][~np.eye(len(milestones), dtype=bool)]
    typical = np.median(between) if between.any() else 1.0
    return np.sqrt(lengths / max(typical, np.finfo(np.float32).tiny) / len(milestones))
