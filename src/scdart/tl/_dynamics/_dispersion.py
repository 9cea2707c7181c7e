"""Dispersion of negative binomial counts, for many features at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
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
_MAX_ITERATIONS = 40
#: Rounds of estimating curve and dispersion in turn; the two are nearly independent, so that few are needed.
_N_ROUNDS = 2


def fit_with_dispersion(y: Array, columns: Array, offset: Array) -> tuple[Fit, Array]:
    """Fit curve and dispersion of negative binomial counts in turn; arguments as of :func:`fit_rates`."""
    family, information_of = NegativeBinomial(), Information(columns)
    dispersion = np.clip(_by_moments(y, offset), *DISPERSION_RANGE)
    fit = fit_rates(family, y, columns, offset, dispersion)
    for _ in range(_N_ROUNDS):
        dispersion = estimate_dispersion(y, fit.rate, information_of, dispersion)
        fit = fit_rates(family, y, columns, offset, dispersion, start=fit.coefficients)
    return fit, dispersion


def estimate_dispersion(y: Array, rate: Array, information_of: Information, start: Array) -> Array:
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
    start
        Where to search first, (n_features,).

    Returns
    -------
    Dispersions, (n_features,), within ``DISPERSION_RANGE``.
    """
    active, log_dispersion = np.arange(len(start)), np.log(start)
    low, high = (np.full(len(start), np.log(bound)) for bound in DISPERSION_RANGE)
    slope = _Slope(y, rate, information_of)
    previous, at_previous = low, slope(low)
    # The slope is positive left of the maximum and negative right of it. If it is nowhere positive, less is better.
    log_dispersion[at_previous <= 0] = low[0]
    found = at_previous <= 0
    for _ in range(_MAX_ITERATIONS):
        if found.any():
            active, slope = active[~found], slope.only(~found)
            low, high, previous, at_previous = (a[~found] for a in (low, high, previous, at_previous))
        if not len(active):
            break
        current = log_dispersion[active]
        value = slope(current)
        low, high = np.where(value > 0, current, low), np.where(value > 0, high, current)
        with np.errstate(divide="ignore", invalid="ignore"):
            secant = current - value * (current - previous) / (value - at_previous)
        # Secants, as long as they stay within what is known to hold the maximum.
        proposed = np.where((secant > low) & (secant < high), secant, (low + high) / 2)
        found = np.abs(proposed - current) < _TOLERANCE
        previous, at_previous, log_dispersion[active] = current, value, proposed
    return np.exp(log_dispersion)


class _Slope:
    """Derivative of the adjusted profile likelihood by the logarithm of the dispersion."""

    def __init__(self, y: Array, rate: Array, information_of: Information) -> None:
        self._y, self._rate, self._information_of = y, rate, information_of
        cells, self._features = np.nonzero(y)
        self._counts = y[cells, self._features]

    def only(self, keep: NDArray[np.bool_]) -> _Slope:
        return _Slope(self._y[:, keep], self._rate[:, keep], self._information_of)

    def __call__(self, log_dispersion: Array) -> Array:
        dispersion = np.exp(log_dispersion)
        size = 1 / dispersion
        inflation = 1 + dispersion * self._rate
        weight = self._rate / inflation
        # Where dispersion is small, these terms are small differences of large numbers: each is taken before the sum.
        terms = digamma(self._counts + size[self._features]) - digamma(size)[self._features]
        likelihood = size * (np.log(inflation).sum(axis=0) - np.bincount(self._features, terms, len(size)))
        likelihood += (self._y / inflation).sum(axis=0) - weight.sum(axis=0)
        information = self._information_of(weight)
        information += 1e-12 * np.eye(information.shape[1]) * np.einsum("kii->k", information)[:, None, None]
        leverage = np.einsum("kij,kji->k", np.linalg.inv(information), self._information_of(weight**2))
        slope: Array = likelihood + 0.5 * dispersion * leverage
        return slope


def _by_moments(y: Array, offset: Array) -> Array:
    """Estimate dispersions around a constant rate, which is where the search starts."""
    size = np.exp(offset)
    rate = y.sum(axis=0) / size.sum() * size[:, None]
    excess = ((y - rate) ** 2 - y).sum(axis=0)
    return np.maximum(excess / (rate**2).sum(axis=0), 1e-2)
