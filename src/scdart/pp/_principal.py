"""Principal coordinates of the rows of a matrix that is too large to write down."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cholesky, eigh, solve_triangular

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

#: Columns of the first sketch; doubled until it holds enough.
_FIRST_WIDTH = 64

#: Columns of the largest sketch per component that is kept, since its last axes are not quite principal ones.
_OVERSAMPLING = 1.1

#: Share of the variance that the largest sketch may miss before its directions are improved.
_TOO_COARSE = 0.01

#: Random directions that estimate what a sketch misses.
_N_CHECKS = 10

#: Pairs of rows whose distances say how many components are needed.
_N_PAIRS = 5_000

#: Share of centred in uncentred variance below which it is rounding error: all rows are the same.
_ROUNDING = 1e-24


class PrincipalCoordinates(NamedTuple):
    """Coordinates whose distances approximate those of the rows of a matrix.

    Attributes
    ----------
    coordinates
        Shape (n_rows, n_components), in the order of falling variance.
    n_needed
        Leading components whose distances differ from those of all by no more than the tolerance.
    explained
        Share of the variance of the rows, and so of their squared distances, that all components hold.
    """

    coordinates: np.ndarray
    n_needed: int
    explained: float


def principal_coordinates(
    matrix: LinearOperator, max_components: int, tolerance: float, rng: np.random.Generator
) -> PrincipalCoordinates:
    r"""Place the rows of a matrix so that their distances are kept, from products with it alone.

    Let :math:`G = H F F^\top H` be the Gram matrix of the centred rows of :math:`F`. For random :math:`\Omega`, its
    Nyström approximation :math:`(G \Omega)(\Omega^\top G \Omega)^{-1} (G \Omega)^\top = E E^\top` yields coordinates
    :math:`E`, which are rotated to their principal axes. Columns are added to :math:`\Omega` until other random
    directions see hardly any variance beside :math:`E`. Where as many columns as there may be miss much of it, an
    orthonormal basis of :math:`G \Omega` takes the place of :math:`\Omega`, which makes the components nearly the best.

    Parameters
    ----------
    matrix
        The matrix :math:`F`, of shape (n_rows, n_columns).
    max_components
        Most components to return.
    tolerance
        Relative error of the distances, in Frobenius norm, that more components need not improve.
    rng
        Source of random directions.

    References
    ----------
    Tropp, Yurtsever, Udell & Cevher (2017), "Fixed-rank approximation of a positive-semidefinite matrix from streaming
    data", whose shift keeps the approximation stable.
    """
    n_rows = matrix.shape[0]
    checks = rng.standard_normal((n_rows, _N_CHECKS))
    variance = np.sum(checks * _gram(matrix, checks))
    if variance <= _ROUNDING * np.sum(matrix.rmatmat(checks) ** 2):
        return PrincipalCoordinates(np.zeros((n_rows, 1)), n_needed=1, explained=1.0)

    def missed_share(factor: np.ndarray) -> float:
        return max(1 - np.sum((factor.T @ checks) ** 2) / variance, 0.0)

    # Outlying rows hold most of the variance in few of the distances, whose error can be some times larger.
    tolerable = tolerance / 10
    max_width = min(n_rows, int(_OVERSAMPLING * max_components) + _N_CHECKS)
    width, probes, images = min(_FIRST_WIDTH, max_width), np.empty((n_rows, 0)), np.empty((n_rows, 0))
    while True:
        if width == n_rows:  # exact
            probes, images = np.eye(n_rows), _gram(matrix, np.eye(n_rows))
        else:
            new = rng.standard_normal((n_rows, width - probes.shape[1]))
            probes, images = np.hstack([probes, new]), np.hstack([images, _gram(matrix, new)])
        factor = _nystrom(probes, images)
        if width == max_width or missed_share(factor) <= tolerable:
            break
        width = min(2 * width, max_width)
    too_coarse = missed_share(factor) > _TOO_COARSE
    del probes  # each of these arrays is as large as the result
    if too_coarse:
        del factor
        images, _ = np.linalg.qr(images)
        factor = _nystrom(images, _gram(matrix, images))
    del images

    variances, axes = np.linalg.eigh(factor.T @ factor)
    kept = slice(None, -max_components - 1, -1)
    coordinates = factor @ axes[:, kept]
    explained = (1 - missed_share(factor)) * variances[kept].sum() / variances.sum()
    return PrincipalCoordinates(coordinates, _n_needed(coordinates, tolerance, rng), float(explained))


def _gram(matrix: LinearOperator, probes: np.ndarray) -> np.ndarray:
    images = matrix.matmat(matrix.rmatmat(probes - probes.mean(axis=0)))
    return images - images.mean(axis=0)


def _nystrom(probes: np.ndarray, images: np.ndarray) -> np.ndarray:
    shift = np.finfo(images.dtype).eps * np.sqrt(len(images)) * np.linalg.norm(images)
    shifted = images + shift * probes
    core = probes.T @ shifted
    core = (core + core.T) / 2
    try:
        triangle = cholesky(core, lower=True, check_finite=False)
        return solve_triangular(triangle, shifted.T, lower=True, overwrite_b=True, check_finite=False).T
    except LinAlgError:
        # The rank is lower than the sketch is wide, for all the shift: leave out what is rounding error.
        values, vectors = eigh(core, check_finite=False)
        held = values > np.finfo(values.dtype).eps * len(images) * values[-1]
        return shifted @ (vectors[:, held] / np.sqrt(values[held]))


def _n_needed(coordinates: np.ndarray, tolerance: float, rng: np.random.Generator) -> int:
    first, second = rng.integers(len(coordinates), size=(2, _N_PAIRS))
    # Column k - 1: distances from the first k components.
    distances = np.sqrt(np.cumsum((coordinates[first] - coordinates[second]) ** 2, axis=1))
    error = np.linalg.norm(distances - distances[:, -1:], axis=0)
    return 1 + int(np.argmax(error <= tolerance * np.linalg.norm(distances[:, -1])))
