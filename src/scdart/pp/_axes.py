"""Leading axes of cells that are not in memory, by few passes over them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from scdart._chunks import RowChunks, Rows

logger = logging.getLogger(__name__)

#: Directions that are multiplied in one pass, as many numbers as one line of a processor's cache holds. More take fewer
#: passes, but more products: with 40, twice the time for a tenth fewer passes over 30,000 cells and 100,000 peaks.
_WIDTH = 16

#: Directions beyond the wanted axes that are kept where those that are held are condensed to the best, and the most
#: that are held, in units of those that are kept.
_SPARE, _MAX_HELD = 20, 8

#: Residual at which an axis is found, relative to its own variance, and relative to that of the first, below which it
#: is rounding error of products in single precision.
_TOLERANCE, _ROUNDING = 1e-5, 2e-7

#: Length of what is left of products beside the directions that are held, relative to the largest, that is nothing.
_NOTHING = 1e-12

#: Passes that are made at the most.
_MAX_PASSES = 150


def leading_axes(matrix: RowChunks, n_axes: int, centre: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    r"""Find the leading right singular vectors by a block Lanczos method.

    Each pass multiplies :math:`X^\top X` by a block of directions, chunk by chunk; what is new in the products is the
    next block. All directions are kept orthogonal, and the axes are the best within their span. What is held is as
    large as there are features, whatever the number of cells.

    Parameters
    ----------
    matrix
        Cells x features.
    n_axes
        Number of axes.
    centre
        What is subtracted from all rows; ``None`` subtracts nothing.
    rng
        Source of the first directions.

    Returns
    -------
    Axes of shape (n_features, n_axes), the leading one first.

    References
    ----------
    Golub & Underwood (1977), "The block Lanczos method for computing eigenvalues". Wu & Simon (2000), SIAM Journal on
    Matrix Analysis and Applications 22:602, for the restart.
    """
    n_features = matrix.shape[1]
    n_kept = n_axes + _SPARE
    room = np.empty((n_features, min(_MAX_HELD * n_kept, n_features)))
    held, inner = room[:, :0], np.empty((0, 0))
    values, vectors = np.empty(0), np.empty((0, 0))
    block = np.linalg.qr(rng.standard_normal((n_features, min(_WIDTH, n_features))))[0]
    for _ in range(_MAX_PASSES):
        if held.shape[1] + block.shape[1] > room.shape[1]:
            room[:, :n_kept] = held @ vectors[:, :n_kept]
            held, inner = room[:, :n_kept], np.diag(values[:n_kept])
        product = matrix.total(partial(_gram_product, block.astype(np.float32), centre))
        n_before = held.shape[1]
        held = room[:, : n_before + block.shape[1]]
        held[:, n_before:] = block
        border = held.T @ product
        inner = _bordered(inner, border)
        values, vectors = np.linalg.eigh(inner)
        values, vectors = values[::-1], vectors[:, ::-1]
        block, coupling = _new_directions(product - held @ border, held, values[0])
        residual = np.linalg.norm(coupling @ vectors[n_before:, :n_axes], axis=0)
        if not block.shape[1] and len(values) < n_axes:
            # There are fewer than were asked for: any others will do.
            block = _orthonormal(rng.standard_normal((n_features, n_axes - len(values))), held)
        elif len(values) >= n_axes and _found(residual, values[:n_axes]):
            break
    else:
        logger.info("Axes are not exact to single precision after %d passes over the data.", _MAX_PASSES)
    return held @ vectors[:, :n_axes]


def _found(residual: np.ndarray, values: np.ndarray) -> bool:
    return bool((residual <= np.maximum(_TOLERANCE * values, _ROUNDING * values[0])).all())


def _gram_product(block: np.ndarray, centre: np.ndarray | None, chunk: sparse.csr_matrix, rows: Rows) -> np.ndarray:
    images = chunk @ block
    if centre is not None:
        # Over all cells, images add up to zero, so that the centre need not be taken from the left side too.
        images -= (centre @ block).astype(images.dtype)
    return chunk.T @ images


def _bordered(inner: np.ndarray, border: np.ndarray) -> np.ndarray:
    """Add rows and columns of products with new directions to the symmetric matrix of those with the earlier ones."""
    n_before = len(inner)
    grown = np.empty((len(border), len(border)))
    grown[:n_before, :n_before] = inner
    grown[:, n_before:], grown[n_before:] = border, border.T
    grown[n_before:, n_before:] = (border[n_before:] + border[n_before:].T) / 2
    return grown


def _new_directions(rest: np.ndarray, held: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions of what products have beside the directions that are held, and their coefficients."""
    block, triangle = np.linalg.qr(rest)
    turned, lengths, mixture = np.linalg.svd(triangle)
    # Where the directions that are held are nearly all there are, what is left is rounding error.
    new = lengths > _NOTHING * largest
    return _orthonormal(block @ turned[:, new], held), lengths[new, None] * mixture[new]


def _orthonormal(block: np.ndarray, held: np.ndarray) -> np.ndarray:
    return np.linalg.qr(block - held @ (held.T @ block))[0]
