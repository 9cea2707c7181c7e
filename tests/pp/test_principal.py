"""Principal coordinates against a singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator
from scipy.spatial.distance import pdist

from scdart.pp._principal import principal_coordinates


def matrix(spectrum, n_rows=300, n_columns=250):
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(n, len(spectrum))))[0] for n in (n_rows, n_columns))
    return (left * spectrum) @ right.T + rng.normal(size=n_columns)


def relative_error(coordinates, rows):
    exact = pdist(rows)
    return np.linalg.norm(pdist(coordinates) - exact) / np.linalg.norm(exact)


def test_distances_hold_the_tolerance_with_few_components():
    rows = matrix(0.8 ** np.arange(100))
    result = principal_coordinates(aslinearoperator(rows), 200, 1e-4, np.random.default_rng(0))
    assert relative_error(result.coordinates[:, : result.n_needed], rows) < 1.5e-4
    assert relative_error(result.coordinates[:, : result.n_needed - 1], rows) > 0.5e-4
    assert result.explained == pytest.approx(1, abs=1e-4)
    variances = (result.coordinates**2).sum(axis=0)
    assert (np.diff(variances) <= 0).all()


def test_capped_components_are_nearly_the_best():
    rows = matrix(0.97 ** np.arange(200))
    result = principal_coordinates(aslinearoperator(rows), 40, 1e-4, np.random.default_rng(0))
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    assert result.coordinates.shape == (300, 40)
    assert result.n_needed == pytest.approx(40, abs=1)
    best = relative_error(u[:, :40] * s[:40], rows)
    assert relative_error(result.coordinates, rows) < 1.1 * best
    assert result.explained == pytest.approx((s[:40] ** 2).sum() / (s**2).sum(), abs=0.03)


def test_full_width_is_exact():
    rows = np.random.default_rng(0).normal(size=(90, 200))
    result = principal_coordinates(aslinearoperator(rows), 90, 1e-12, np.random.default_rng(0))
    assert relative_error(result.coordinates, rows) < 1e-9


def test_equal_rows_have_no_coordinates():
    rows = np.repeat(np.random.default_rng(0).normal(size=(1, 50)), 30, axis=0)
    result = principal_coordinates(aslinearoperator(rows), 10, 1e-4, np.random.default_rng(0))
    assert not result.coordinates.any()
    assert (result.n_needed, result.explained) == (1, 1)
