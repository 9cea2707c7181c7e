"""Fates of cells between branches: which of them a random walk on the graph of cells reaches first."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import cg


def reached_first(links: sp.csr_matrix, cells: np.ndarray, sides: list[np.ndarray]) -> np.ndarray:
    r"""Find the side that random walks from each cell most probably reach first.

    With the Laplacian :math:`L` of the links among the cells and to the sides, and the weights :math:`w_s` of their
    links to side s, the probabilities :math:`p_s` to reach that side first solve

    .. math:: L_{\text{cells}} \, p_s = w_s .

    Parameters
    ----------
    links
        Symmetric weights of shape (n, n). Walks stay among the cells and end at the sides.
    cells
        Row numbers of the cells from which walks start, of shape (n_cells,).
    sides
        For each side, the row numbers of its cells.

    Returns
    -------
    Number of the side, of shape (n_cells,); -1 where walks reach none.
    """
    own = links[cells]
    among = own[:, cells]
    to_sides = np.column_stack([np.asarray(own[:, side].sum(axis=1)).ravel() for side in sides]).astype(float)
    degree = np.asarray(among.sum(axis=1)).ravel() + to_sides.sum(axis=1)
    degree[degree == 0] = 1  # a cell without links, whose walks stay
    laplacian = sp.diags(degree).tocsr() - among
    probability = np.column_stack([cg(laplacian, weights, M=sp.diags(1 / degree))[0] for weights in to_sides.T])
    return np.where(probability.sum(axis=1) > 0, probability.argmax(axis=1), -1)
