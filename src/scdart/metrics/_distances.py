"""Distances between all cells in blocks of rows, so that no n x n matrix exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.metrics import pairwise_distances_chunked

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_BLOCK_MIB = 128


def squared_distance_blocks(x: NDArray, y: NDArray) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield ``rows, distances``: squared Euclidean distances of ``x[rows]`` to all rows of ``y``.

    The squared metric is evaluated difference by difference (SciPy), not through a matrix product: equal distances come
    out equal to the last bit, so ties can be recognised.
    """
    start = 0
    for block in pairwise_distances_chunked(x, y, metric="sqeuclidean", working_memory=_BLOCK_MIB):
        yield slice(start, start + len(block)), block
        start += len(block)
