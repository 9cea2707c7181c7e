"""Positions of cells by several trainings, which differ in direction and size for no reason: made comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.linalg import orthogonal_procrustes

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What a model notes of a training that are no options of it, so that they are not given to the next one.
NOTED_OF_TRAINING: Final = ("seed", "usual_epochs")


def turned_onto(reference: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shift, turn and scale positions so that they are as near as they can be to those of another training.

    Parameters
    ----------
    reference, other
        Latent coordinates of the same cells, both of shape (n_cells, n_latent).
    """
    centre = reference.mean(axis=0)
    fixed, moving = reference - centre, other - other.mean(axis=0)
    rotation, overlap = orthogonal_procrustes(moving, fixed)
    size = overlap / max(float((moving**2).sum()), np.finfo(float).tiny)
    return size * moving @ rotation + centre


def spread_of_positions(reference: np.ndarray, turned: Sequence[np.ndarray]) -> np.ndarray:
    r"""Measure how far each cell moves between trainings.

    .. math:: s_i^2 = \operatorname{mean}_m
              \frac{\lVert a_i - b_{mi} \rVert^2}{\operatorname{mean}_j \lVert a_i - b_{mj} \rVert^2}

    with the positions :math:`a` of the first training and :math:`b_m` of the others: 0 where a cell stays, and 1 where
    its other positions are as far away as those of any other cell.

    Parameters
    ----------
    reference
        Shape (n_cells, n_latent).
    turned
        Positions by the other trainings, see :func:`turned_onto`.

    Returns
    -------
    Shape (n_cells,), not negative.
    """
    shares = []
    for other in turned:
        # The mean over all j follows from the centre and the spread around it.
        centre = other.mean(axis=0)
        usual = ((reference - centre) ** 2).sum(axis=1) + ((other - centre) ** 2).sum(axis=1).mean()
        moved = ((reference - other) ** 2).sum(axis=1)
        shares.append(np.divide(moved, usual, out=np.zeros_like(moved), where=usual > 0))
    return np.sqrt(np.mean(shares, axis=0))
