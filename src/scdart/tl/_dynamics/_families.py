"""Distributions of counts with a rate: what a fit needs to know of each, for many features at once.

All are models of one quantity, the rate ``exp(eta)`` of a cell's molecules or fragments, with ``eta`` linear in the
design plus the logarithm of the cell's size. Poisson and negative binomial counts have it as their mean. A binary
feature is open where a Poisson count is not 0, which is the binomial with complementary log-log link: depth enters as
an offset there too, where with a logistic link it would not.

Arrays are (n_cells, n_features); dispersions (n_features,).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import xlogy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Rates whose exponential a float holds; any such feature is surely open.
_NO_OVERFLOW = 700.0


class Family(Protocol):
    """A distribution of counts."""

    def weight_and_score(self, y: Array, rate: Array, dispersion: Array) -> tuple[Array, Array]:
        """Compute the expected information on ``eta`` and the derivative of the log-likelihood by it."""

    def loss(self, y: Array, eta: Array, rate: Array, dispersion: Array) -> Array:
        """Sum over cells minus twice the log-likelihood, up to what depends neither on ``eta`` nor on the model."""

    def saturated_loss(self, y: Array, dispersion: Array) -> Array:
        """Compute the loss of the model that predicts every cell's value, which a deviance is relative to."""

    def link_curvature(self, rate: Array) -> Array | float:
        """Compute the derivative by ``eta`` of the logarithm of the mean's own derivative by ``eta``."""


class Poisson:
    """Counts whose variance is their mean."""

    def weight_and_score(self, y: Array, rate: Array, dispersion: Array) -> tuple[Array, Array]:
        return rate, y - rate

    def loss(self, y: Array, eta: Array, rate: Array, dispersion: Array) -> Array:
        return 2 * (rate.sum(axis=0) - _sum_of_products(y, eta))

    def saturated_loss(self, y: Array, dispersion: Array) -> Array:
        return 2 * (y - xlogy(y, y)).sum(axis=0)

    def link_curvature(self, rate: Array) -> float:
        return 1.0


class NegativeBinomial:
    """Counts of variance ``mean + dispersion * mean ** 2``."""

    def weight_and_score(self, y: Array, rate: Array, dispersion: Array) -> tuple[Array, Array]:
        inflation = 1 + dispersion * rate
        return rate / inflation, (y - rate) / inflation

    def loss(self, y: Array, eta: Array, rate: Array, dispersion: Array) -> Array:
        return 2 * (_sum_of_products(y + 1 / dispersion, np.log1p(dispersion * rate)) - _sum_of_products(y, eta))

    def saturated_loss(self, y: Array, dispersion: Array) -> Array:
        return 2 * (_sum_of_products(y + 1 / dispersion, np.log1p(dispersion * y)) - xlogy(y, y).sum(axis=0))

    def link_curvature(self, rate: Array) -> float:
        return 1.0


class Binary:
    """Whether a Poisson count is not 0: 1 with probability ``1 - exp(-rate)``."""

    def weight_and_score(self, y: Array, rate: Array, dispersion: Array) -> tuple[Array, Array]:
        share = rate / np.expm1(np.minimum(rate, _NO_OVERFLOW))
        return rate * share, y * (share + rate) - rate

    def loss(self, y: Array, eta: Array, rate: Array, dispersion: Array) -> Array:
        return 2 * (_sum_of_products(1 - y, rate) - _sum_of_products(y, np.log(-np.expm1(-rate))))

    def saturated_loss(self, y: Array, dispersion: Array) -> Array:
        return np.zeros(y.shape[1])

    def link_curvature(self, rate: Array) -> Array:
        return 1 - rate


#: By the name that users give.
FAMILIES: dict[str, Family] = {"poisson": Poisson(), "nb": NegativeBinomial(), "binomial": Binary()}


def _sum_of_products(a: Array, b: Array) -> Array:
    return np.einsum("ij,ij->j", a, b)
