"""Curves of counts that stay finite where a feature is never seen, for many features at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._glm import ETA_RANGE, Information

if TYPE_CHECKING:
    from ._families import Array, Family

_MAX_ITERATIONS = 200
#: Precision of ``eta``, at which curves look the same.
_TOLERANCE = 1e-4
#: Largest change of ``eta`` in a step.
_MAX_STEP = 2.0


def reduce_bias(family: Family, y: Array, columns: Array, offset: Array, dispersion: Array) -> tuple[Array, Array]:
    r"""Solve the score equations of Firth, by Fisher scoring.

    Where no cell has the feature, the likelihood rises as the rate falls, the further the better, and the information
    on it vanishes: the interval around the best rate, which is 0, would have no upper end. Firth's adjustment, half of
    each cell's leverage :math:`h_i` times the change of the logarithm of :math:`d_i = \partial\mu_i / \partial\eta_i`,
    weighs half a count against that for each parameter, and vanishes beside counts:

    .. math:: \sum_i \Bigl(s_i + \tfrac12 h_i \frac{\partial \log d_i}{\partial\eta_i}\Bigr) x_i = 0

    Parameters
    ----------
    family, y, columns, offset, dispersion
        As of :func:`scdart.tl._dynamics._glm.fit_rates`.

    Returns
    -------
    Coefficients, and their covariances of shape (n_features, n_parameters, n_parameters).

    References
    ----------
    Firth (1993), Biometrika 80:27-38; Kosmidis and Firth (2009), Biometrika 96:793-804.
    """
    information_of = Information(columns)
    coefficients = np.zeros((columns.shape[1], y.shape[1]))
    coefficients[0] = np.log(y.sum(axis=0) / np.exp(offset).sum())
    for _ in range(_MAX_ITERATIONS):
        rate = np.exp(np.clip(columns @ coefficients + offset[:, None], *ETA_RANGE))
        weight, score = family.weight_and_score(y, rate, dispersion)
        covariance = np.asarray(np.linalg.pinv(information_of(weight), hermitian=True), dtype=np.float64)
        leverage = weight * np.einsum("ni,kij,nj->nk", columns, covariance, columns, optimize=True)
        adjusted = columns.T @ (score + 0.5 * leverage * family.link_curvature(rate))
        step = np.einsum("kij,jk->ik", covariance, adjusted)
        length = np.abs(columns @ step).max(axis=0)
        coefficients += step * np.minimum(1, _MAX_STEP / np.maximum(length, _MAX_STEP))
        if length.max() < _TOLERANCE:
            break
    return coefficients, covariance
