"""Likelihood ratios of rare features, corrected to have the mean of the distribution that they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ._families import Array
    from ._splines import NestedDesign


def excess_of_likelihood_ratio(design: NestedDesign, size: Array) -> float:
    r"""By how much the expected likelihood ratio of counts exceeds its degrees of freedom, times the rate.

    The likelihood ratio of a feature with few counts is too large on average, by an amount that is inversely
    proportional to the counts. It follows from the third and fourth cumulants of Poisson counts of constant rate; with
    indicators of groups as the design, this is the correction of Williams for a contingency table.

    Parameters
    ----------
    design
        Null and full model.
    size
        Sizes of the cells, (n_cells,).

    Returns
    -------
    The excess at rate 1, a count in every cell of size 1.

    References
    ----------
    McCullagh and Cox (1986), Invariants and likelihood ratio statistics, Annals of Statistics 14:1419-1430.
    """
    return _expansion(design.columns, size) - _expansion(design.null, size)


def _expansion(columns: Array, weight: Array) -> float:
    """Sum the invariants of third and fourth cumulants, in coordinates in which the second ones are the identity."""
    triangle = np.linalg.cholesky((columns.T * weight) @ columns)
    rows = np.linalg.solve(triangle, columns.T).T
    leverage = (rows**2).sum(axis=1)
    contracted = (weight * leverage) @ rows
    pairs = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
    third = pairs.T @ (weight[:, None] * rows)
    fourth = (weight * leverage**2).sum()
    return float(3 * contracted @ contracted + 2 * (third**2).sum() - 3 * fourth) / 12
