"""Curves and null models of the features of a block, and the statistics that compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2
from scipy.stats import f as f_distribution

from ._dispersion import fit_with_dispersion
from ._families import FAMILIES
from ._glm import Fit, fit_means, fit_rates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._families import Array
    from ._problem import Problem


@dataclass(frozen=True)
class CurveFits:
    """Curves and tests of the features of a block."""

    full: Fit
    null: Fit
    statistic: Array
    p_value: Array
    dispersion: Array
    """Or the residual variance of Gaussian features."""

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Whether both fits can be trusted."""
        return self.full.converged & self.null.converged & np.isfinite(self.p_value)

    @property
    def deviance_explained(self) -> Array:
        """Share of the null model's deviance."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1 - self.full.deviance / self.null.deviance


def fit_curves(problem: Problem, values: NDArray[np.float64]) -> CurveFits:
    """Fit curves and nulls to features, (n_cells, n_features), none of them constant."""
    design, n_cells, n_features = problem.model.design, *values.shape
    unknown = np.full(n_features, np.nan)
    if problem.family == "gaussian":
        full, null = fit_means(values, design.columns), fit_means(values, design.null)
        df_residual = n_cells - design.columns.shape[1]
        variance = full.deviance / df_residual
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.maximum(null.deviance - full.deviance, 0) / design.df / variance
        return CurveFits(full, null, statistic, f_distribution.sf(statistic, design.df, df_residual), variance)
    family, offset = FAMILIES[problem.family], np.log(problem.size)
    if problem.family == "nb":
        full, dispersion = fit_with_dispersion(values, design.columns, offset)
    else:
        values = (values > 0).astype(float) if problem.family == "binomial" else values
        full, dispersion = fit_rates(family, values, design.columns, offset, unknown), unknown
    null = fit_rates(family, values, design.null, offset, dispersion)
    expected = design.df + problem.excess / values.mean(axis=0)
    statistic = np.maximum(null.deviance - full.deviance, 0) * design.df / expected
    return CurveFits(full, null, statistic, chi2.sf(statistic, design.df), dispersion)
