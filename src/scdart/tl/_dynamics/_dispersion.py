"""Dispersion of negative binomial counts, for many features at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize.elementwise import find_root
from scipy.special import digamma

from ._families import NegativeBinomial
from ._glm import Fit, Information, fit_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._families import Array

#: A feature of the lowest dispersion is Poisson for every purpose; beyond the highest, all counts are in a few cells.
DISPERSION_RANGE = (1e-6, 1e3)

#: Precision of the logarithm of the dispersion.
_TOLERANCE = 1e-4
#: Sizes beyond which the series of the digamma function is exact.
_LARGE_SIZE = 1e4
#: Rounds of estimating curve and dispersion in turn; the two are nearly independent, so that few are needed.
_N_ROUNDS = 2


def fit_with_dispersion(y: Array, columns: Array, offset: Array) -> tuple[Fit, Array]:
    """Fit curve and dispersion of negative binomial counts in turn; arguments as of :func:`fit_rates`."""
    family, information_of = NegativeBinomial(), Information(columns)
    dispersion = np.clip(_by_moments(y, offset), *DISPERSION_RANGE)
    fit = fit_rates(family, y, columns, offset, dispersion)
    for _ in range(_N_ROUNDS):
        dispersion = estimate_dispersion(y, fit.rate, information_of)
        fit = fit_rates(family, y, columns, offset, dispersion, start=fit.coefficients)
    return fit, dispersion


def estimate_dispersion(y: Array, rate: Array, information_of: Information) -> Array:
    r"""Maximise the profile likelihood of the dispersion with the adjustment of Cox and Reid.

    The adjustment accounts for the parameters of the curve. Without it dispersions are too small, and tests that use
    them find too much. What is maximised is
    :math:`\ell(\alpha) - \frac12 \log\det X^\top W X, \; w = \frac{\mu}{1 + \alpha\mu}`.

    Parameters
    ----------
    y
        Counts of shape (n_cells, n_features).
    rate
        Fitted means of shape (n_cells, n_features).
    information_of
        Cross-products of the design.

    Returns
    -------
    Dispersions, (n_features,), within ``DISPERSION_RANGE``.
    """
    slope = _Slope(y, rate, information_of)
    features = np.arange(y.shape[1])
    low, high = (np.full(len(features), np.log(bound)) for bound in DISPERSION_RANGE)
    # The slope is positive left of the maximum and negative right of it. Where it is so nowhere, an end is best.
    dispersion = np.where(slope(low, features) > 0, DISPERSION_RANGE[1], DISPERSION_RANGE[0])
    within = features[(dispersion == DISPERSION_RANGE[1]) & (slope(high, features) < 0)]
    if len(within):
        found = find_root(slope, (low[within], high[within]), args=(within,), tolerances={"xatol": _TOLERANCE})
        dispersion[within] = np.exp(found.x)
    return dispersion


class _Slope:
    """Derivative of the adjusted profile likelihood by the logarithm of the dispersion, for some of the features."""

    def __init__(self, y: Array, rate: Array, information_of: Information) -> None:
        self._all = y, rate
        self._information_of = information_of
        self._take(np.arange(y.shape[1]))

    def _take(self, features: NDArray[np.intp]) -> None:
        self._features = features
        self._y, self._rate = (values[:, features] for values in self._all)
        cells, self._column = np.nonzero(self._y)
        self._counts = self._y[cells, self._column]

    def __call__(self, log_dispersion: Array, features: NDArray[np.intp]) -> Array:
        if not np.array_equal(features, self._features):
            self._take(features)
        dispersion = np.exp(log_dispersion)
        size, scaled = 1 / dispersion, dispersion * self._rate
        weight = self._rate / (1 + scaled)
        terms = _digamma_difference(self._counts, size, self._column)
        likelihood = size * (np.log1p(scaled).sum(axis=0) - np.bincount(self._column, terms, len(size)))
        likelihood += (self._y / (1 + scaled)).sum(axis=0) - weight.sum(axis=0)
        information = self._information_of(weight)
        information += 1e-12 * np.eye(information.shape[1]) * np.einsum("kii->k", information)[:, None, None]
        leverage = np.einsum("kij,kji->k", np.linalg.inv(information), self._information_of(weight**2))
        slope: Array = likelihood + 0.5 * dispersion * leverage
        return slope


def _digamma_difference(counts: Array, size: Array, column: NDArray[np.intp]) -> Array:
    """Compute ``digamma(counts + size) - digamma(size)``, by Stirling's series where sizes are large and it cancels.

    Parameters
    ----------
    counts
        Shape (n,).
    size
        Of each feature, (n_features,).
    column
        Feature of each count, (n,).
    """
    total = counts + size[column]
    difference: Array = digamma(total) - digamma(size)[column]
    large = np.flatnonzero(size[column] > _LARGE_SIZE)
    if len(large):
        y, s, t = counts[large], size[column[large]], total[large]
        difference[large] = np.log1p(y / s) + y / (2 * s * t) + y * (s + t) / (12 * (s * t) ** 2)
    return difference


def _by_moments(y: Array, offset: Array) -> Array:
    """Estimate dispersions around a constant rate, with which the curve is fitted first."""
    size = np.exp(offset)
    rate = y.sum(axis=0) / size.sum() * size[:, None]
    excess = ((y - rate) ** 2 - y).sum(axis=0)
    return np.maximum(excess / (rate**2).sum(axis=0), 1e-2)
