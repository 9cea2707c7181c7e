"""Cross-fitted ridge regression against its closed form."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from scdart import _ridge
from scdart._ridge import cross_fitted_ridge, fit_ridge


@pytest.fixture
def features():
    return sp.random(90, 40, density=0.3, format="csr", random_state=0)


def closed_form(features, targets, train, test):
    dense = features.toarray()
    penalty = 3 * np.sum((dense - dense.mean(axis=0)) ** 2) / len(dense)
    mean, centre = dense[train].mean(axis=0), targets[train].mean(axis=0)
    x = dense[train] - mean
    coefficients = np.linalg.solve(x.T @ x + penalty * np.eye(dense.shape[1]), x.T @ (targets[train] - centre))
    return (dense[test] - mean) @ coefficients + centre


def folds(rows, rng):
    return KFold(5, shuffle=True, random_state=int(rng.integers(2**31))).split(rows)


def test_predictions_are_those_of_models_fitted_to_other_rows(features, monkeypatch):
    monkeypatch.setattr(_ridge, "_TOLERANCE", 1e-10)
    targets = np.random.default_rng(1).normal(size=(90, 3))
    expected = np.zeros((90, 3))
    for train, test in folds(np.arange(90), np.random.default_rng(2)):
        expected[test] = closed_form(features, targets, train, test)
    predicted = cross_fitted_ridge(features, targets, np.arange(90), np.random.default_rng(2))
    np.testing.assert_allclose(predicted, expected, atol=1e-7)


def test_rows_without_target_get_the_mean_of_all_models(features, monkeypatch):
    monkeypatch.setattr(_ridge, "_TOLERANCE", 1e-10)
    targets = np.random.default_rng(1).normal(size=(90, 2))
    rows, others = np.arange(90)[::2], np.arange(90)[1::2]
    expected = np.zeros((90, 2))
    for train, test in folds(rows, np.random.default_rng(2)):
        expected[rows[test]] = closed_form(features, targets, rows[train], rows[test])
        expected[others] += closed_form(features, targets, rows[train], others) / 5
    predicted = cross_fitted_ridge(features, targets[rows], rows, np.random.default_rng(2))
    np.testing.assert_allclose(predicted, expected, atol=1e-7)


def test_noise_is_not_predicted():
    rng = np.random.default_rng(0)
    features = sp.csr_matrix(rng.normal(size=(200, 1000)))  # more features than rows: a fit to all rows is perfect
    targets = rng.normal(size=(200, 5))
    predicted = cross_fitted_ridge(features, targets, np.arange(200), rng)
    assert abs(np.mean([np.corrcoef(predicted[:, j], targets[:, j])[0, 1] for j in range(5)])) < 0.1


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_fit_is_that_of_scikit_learn(shape):
    features = sp.random(*shape, density=0.3, format="csr", random_state=0)
    targets = np.random.default_rng(1).normal(size=(shape[0], 4))
    targets[:, 1] = 7.0  # nothing to solve
    expected = Ridge(0.5).fit(features.toarray(), targets)
    found = fit_ridge(features, targets, 0.5, tolerance=1e-10)
    np.testing.assert_allclose(found.coefficients.T, expected.coef_, atol=1e-8)
    np.testing.assert_allclose(found.intercept, expected.intercept_, atol=1e-8)


@pytest.mark.parametrize("shape", [(60, 20), (20, 60)])
def test_weighted_fit_is_that_of_scikit_learn(shape):
    rng = np.random.default_rng(1)
    features = sp.random(*shape, density=0.3, format="csr", random_state=0)
    targets, weights = rng.normal(size=(shape[0], 4)), rng.random(shape[0])
    weights[::5] = 0
    expected = Ridge(0.5).fit(features.toarray(), targets, sample_weight=weights)
    found = fit_ridge(features, targets, 0.5, tolerance=1e-10, weights=weights)
    np.testing.assert_allclose(found.coefficients.T, expected.coef_, atol=1e-8)
    np.testing.assert_allclose(found.intercept, expected.intercept_, atol=1e-8)


def test_rows_of_weight_zero_are_as_good_as_absent(features, monkeypatch):
    monkeypatch.setattr(_ridge, "_TOLERANCE", 1e-10)
    targets = np.random.default_rng(1).normal(size=(90, 2))
    weights = np.ones(90)
    disturbed = targets.copy()
    disturbed[:9], weights[:9] = 100, 0
    given, expected = (
        cross_fitted_ridge(features, values, np.arange(90), np.random.default_rng(2), weights)
        for values in (disturbed, targets)
    )
    np.testing.assert_allclose(given, expected, atol=1e-7)
