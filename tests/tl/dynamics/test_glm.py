"""Fits of many features at once against statsmodels, one feature at a time."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from patsy import dmatrix
from scipy.special import gammaln
from scipy.stats import chi2

from scdart.tl._dynamics._bartlett import excess_of_likelihood_ratio
from scdart.tl._dynamics._dispersion import DISPERSION_RANGE, estimate_dispersion, fit_with_dispersion
from scdart.tl._dynamics._families import FAMILIES
from scdart.tl._dynamics._glm import Information, fit_means, fit_rates
from scdart.tl._dynamics._splines import NaturalSpline, NestedDesign

N_CELLS, N_FEATURES = 400, 12


@pytest.fixture
def time() -> np.ndarray:
    return np.random.default_rng(0).beta(0.7, 1.3, N_CELLS)


@pytest.fixture
def design(time) -> NestedDesign:
    return NestedDesign.from_columns(np.ones((N_CELLS, 1)), NaturalSpline(time, 4)(time))


@pytest.fixture
def offset() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.4, N_CELLS)


def draw(family: str, time: np.ndarray, offset: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(2)
    level, slope = rng.uniform(-1.5, 2, N_FEATURES), rng.normal(0, 1.5, N_FEATURES)
    rate = np.exp(level + slope * time[:, None] + offset[:, None])
    if family == "nb":
        return rng.negative_binomial(2, 2 / (2 + rate)).astype(float)
    counts = rng.poisson(rate if family == "poisson" else rate / 4).astype(float)
    return (counts > 0).astype(float) if family == "binomial" else counts


def statsmodels_family(family: str, dispersion: float) -> sm.families.Family:
    return {
        "poisson": sm.families.Poisson(),
        "nb": sm.families.NegativeBinomial(alpha=dispersion),
        "binomial": sm.families.Binomial(link=sm.families.links.CLogLog()),
    }[family]


@pytest.mark.parametrize("family", ["poisson", "nb", "binomial"])
def test_fits_are_those_of_statsmodels(family, time, design, offset):
    y, dispersion = draw(family, time, offset), np.linspace(0.1, 1, N_FEATURES)
    full = fit_rates(FAMILIES[family], y, design.columns, offset, dispersion)
    null = fit_rates(FAMILIES[family], y, design.null, offset, dispersion)
    assert full.converged.all()
    assert null.converged.all()
    for j in range(N_FEATURES):
        options = {"family": statsmodels_family(family, dispersion[j]), "offset": offset}
        expected = sm.GLM(y[:, j], design.columns, **options).fit(tol=1e-12, maxiter=200)
        expected_null = sm.GLM(y[:, j], design.null, **options).fit(tol=1e-12, maxiter=200)
        np.testing.assert_allclose(full.coefficients[:, j], expected.params, atol=1e-6)
        np.testing.assert_allclose(full.deviance[j], expected.deviance, atol=1e-6)
        ours, theirs = null.deviance[j] - full.deviance[j], expected_null.deviance - expected.deviance
        np.testing.assert_allclose(chi2.sf(ours, design.df), chi2.sf(theirs, design.df), rtol=1e-6)


def test_means_are_those_of_statsmodels(time, design):
    y = np.random.default_rng(3).normal(100 + np.outer(time, np.arange(5)), 1)
    full, null = fit_means(y, design.columns), fit_means(y, design.null)
    for j in range(5):
        expected = sm.OLS(y[:, j], design.columns).fit()
        np.testing.assert_allclose(full.coefficients[:, j], expected.params, atol=1e-9)
        np.testing.assert_allclose(full.deviance[j], expected.ssr)
        np.testing.assert_allclose(null.deviance[j], expected.centered_tss)


def test_natural_spline_spans_that_of_patsy(time):
    ours = np.column_stack([np.ones(N_CELLS), NaturalSpline(time, 4)(time)])
    inner = list(np.quantile(time, [0.25, 0.5, 0.75]))
    theirs = np.asarray(
        dmatrix(
            "cr(x, knots=knots, lower_bound=low, upper_bound=high) - 1",
            {
                "x": time,
                "knots": inner,
                "low": time.min(),
                "high": time.max(),
            },
        )
    )
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(theirs @ np.linalg.lstsq(theirs, ours)[0], ours, atol=1e-8)


def test_design_is_orthogonal_counts_its_rank_and_maps_new_rows(time):
    null, curve = np.column_stack([np.ones(N_CELLS), time > 0.5]), NaturalSpline(time, 3)(time)
    design = NestedDesign.from_columns(null, np.column_stack([curve, curve[:, 0] - 2 * curve[:, 2], null[:, 1]]))
    assert (design.n_null, design.df) == (2, 3)
    np.testing.assert_allclose(design.columns.T @ design.columns / N_CELLS, np.eye(5), atol=1e-10)
    raw = np.column_stack([null, curve, curve[:, 0] - 2 * curve[:, 2], null[:, 1]])
    np.testing.assert_allclose(design.at(raw[:7]), design.columns[:7], atol=1e-9)


def test_a_feature_never_seen_in_a_part_converges(time, design, offset):
    y = np.random.default_rng(4).poisson(3.0 * (time < 0.2)[:, None] * np.ones(3)).astype(float)
    for family in ("poisson", "nb", "binomial"):
        values = np.minimum(y, 1) if family == "binomial" else y
        fit = fit_rates(FAMILIES[family], values, design.columns, offset, np.full(3, 0.1))
        assert fit.converged.all()
        assert fit.rate[time > 0.5].max() < 0.05


def test_counts_of_any_size_converge(design):
    mean = np.array([1e-2, 1, 1e3, 1e6])
    y = np.random.default_rng(5).poisson(mean * np.ones((N_CELLS, 1))).astype(float)
    fit = fit_rates(FAMILIES["poisson"], y, design.columns, np.zeros(N_CELLS), np.full(4, np.nan))
    assert fit.converged.all()
    np.testing.assert_allclose(fit.rate.mean(axis=0), y.mean(axis=0))


def adjusted_likelihood(alpha: float, y: np.ndarray, mu: np.ndarray, columns: np.ndarray) -> float:
    size = 1 / alpha
    likelihood = gammaln(y + size) - gammaln(size) + y * np.log(alpha * mu) - (y + size) * np.log1p(alpha * mu)
    weight = mu / (1 + alpha * mu)
    return likelihood.sum() - 0.5 * np.linalg.slogdet(columns.T * weight @ columns)[1]


def test_dispersion_maximises_the_adjusted_profile_likelihood(time, design, offset):
    y = draw("nb", time, offset)
    fit, _ = fit_with_dispersion(y, design.columns, offset)
    found = estimate_dispersion(y, fit.rate, Information(design.columns))
    for j in range(N_FEATURES):
        around = found[j] * np.exp(np.linspace(-0.5, 0.5, 101))
        values = [adjusted_likelihood(alpha, y[:, j], fit.rate[:, j], design.columns) for alpha in around]
        np.testing.assert_allclose(np.log(found[j]), np.log(around[np.argmax(values)]), atol=0.011)


def test_small_dispersions_are_found_alone_as_among_others(design):
    rng = np.random.default_rng(8)
    mean = np.exp(rng.normal(1.0, 1.0, size=80))
    y = rng.negative_binomial(1 / 0.01, 1 / (1 + 0.01 * mean), (N_CELLS, 80)).astype(float)
    fit, together = fit_with_dispersion(y, design.columns, np.zeros(N_CELLS))
    grid = np.exp(np.linspace(*np.log([1e-4, 10]), 501))
    for j in range(80):
        _, alone = fit_with_dispersion(y[:, [j]], design.columns, np.zeros(N_CELLS))
        np.testing.assert_allclose(np.log(alone[0]), np.log(together[j]), atol=1e-3)
        values = [adjusted_likelihood(alpha, y[:, j], fit.rate[:, j], design.columns) for alpha in grid]
        best = grid[np.argmax(values)]
        np.testing.assert_allclose(np.log(max(together[j], grid[0])), np.log(best), atol=0.025)


def test_dispersion_is_the_true_one_and_none_for_poisson(time, design):
    rng = np.random.default_rng(6)
    truth = np.repeat([0.1, 0.5, 2.0], 60)
    y = rng.negative_binomial(1 / truth, 1 / (1 + 4 * truth), (N_CELLS, len(truth))).astype(float)
    _, found = fit_with_dispersion(y, design.columns, np.zeros(N_CELLS))
    for value in np.unique(truth):
        np.testing.assert_allclose(found[truth == value].mean(), value, rtol=0.03)
    _, none = fit_with_dispersion(rng.binomial(10, 0.4, (N_CELLS, 5)).astype(float), design.columns, np.zeros(N_CELLS))
    np.testing.assert_allclose(none, DISPERSION_RANGE[0])


def test_correction_is_that_of_williams_for_groups():
    group = np.repeat([0, 1, 2], [50, 100, 250])
    design = NestedDesign.from_columns(np.ones((N_CELLS, 1)), np.eye(3)[group][:, 1:])
    expected = (1 / np.array([50, 100, 250])).sum() / 6 - 1 / (6 * N_CELLS)
    np.testing.assert_allclose(excess_of_likelihood_ratio(design, np.ones(N_CELLS)), expected)


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_corrected_ratios_of_rare_features_have_the_mean_of_chi_square(family, design, offset):
    size, n_features = np.exp(offset), 3_000
    y = np.random.default_rng(7).poisson(15 * size[:, None] / size.sum() * np.ones(n_features)).astype(float)
    y = np.minimum(y, 1) if family == "binomial" else y
    fits = [fit_rates(FAMILIES[family], y, x, offset, np.zeros(n_features)) for x in (design.null, design.columns)]
    ratio = fits[0].deviance - fits[1].deviance
    excess = excess_of_likelihood_ratio(design, size / size.mean()) / y.mean(axis=0)
    assert ratio.mean() > 4.2
    np.testing.assert_allclose((ratio * 4 / (4 + excess)).mean(), 4, atol=0.15)
