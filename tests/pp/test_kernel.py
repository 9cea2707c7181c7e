"""The kernel against graphtools, and where that divides by zero."""

from __future__ import annotations

import os
import subprocess
import sys

import graphtools
import numpy as np
import pytest

from scdart.pp._kernel import alpha_decay_kernel


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 8)) + np.linspace(0, 10, 400)[:, None]


@pytest.fixture(params=["exact", "approximate"])
def search(request, monkeypatch):
    if request.param == "approximate":
        monkeypatch.setattr("scdart._neighbors.MAX_EXACT", 10)
        request.getfixturevalue("exact_search")


@pytest.mark.parametrize("n_neighbors", [1, 5, 12])
def test_kernel_is_graphtools_default(features, n_neighbors):
    expected = graphtools.Graph(features, n_pca=None, knn=n_neighbors, decay=40, verbose=0).K.toarray()
    kernel = alpha_decay_kernel(features, n_neighbors)
    assert abs(kernel - kernel.T).max() == 0
    # graphtools computes affinities in single precision, and may cut those at the threshold of 1e-4 differently.
    np.testing.assert_allclose(kernel.toarray(), expected, atol=1.1e-4)
    np.testing.assert_allclose(kernel.toarray()[expected > 1e-3], expected[expected > 1e-3], rtol=1e-4)


@pytest.mark.usefixtures("exact_search")
def test_fewer_candidates_lose_hardly_any_affinity(features, monkeypatch):
    exact = alpha_decay_kernel(features)
    monkeypatch.setattr("scdart._neighbors.MAX_EXACT", 100)
    approximate = alpha_decay_kernel(features)
    assert abs(approximate - approximate.T).max() == 0
    assert 0 < abs(approximate - exact).sum() < 0.01 * exact.sum()


def test_approximate_search_is_imported_when_needed():
    """It compiles code on import, which takes as long as all other imports together."""
    code = "import sys, scdart; scdart.pp, scdart.tl, scdart.pl, scdart.model; print('pynndescent' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "False"


@pytest.mark.skipif("SCDART_SLOW" not in os.environ, reason="compiles for half a minute: set SCDART_SLOW to run")
def test_approximate_search_finds_nearly_all_and_is_reproducible(features, monkeypatch):
    exact = alpha_decay_kernel(features)
    monkeypatch.setattr("scdart._neighbors.MAX_EXACT", 100)
    approximate = alpha_decay_kernel(features, random_state=1)
    assert abs(approximate - exact).sum() < 0.01 * exact.sum()
    assert (approximate != alpha_decay_kernel(features, random_state=1)).nnz == 0


@pytest.mark.usefixtures("search")
def test_duplicates_are_linked_to_the_nearest_other_cell(features):
    features = features + 1000  # where distances lose digits
    features[:8] = features[0]
    kernel = alpha_decay_kernel(features, 5).toarray()
    assert np.isfinite(kernel).all()
    np.testing.assert_allclose(np.diag(kernel), 1)
    np.testing.assert_allclose(kernel[:8, :8], 1, rtol=1e-4)
    nearest = 8 + np.argmin(np.linalg.norm(features[8:] - features[0], axis=1))
    assert kernel[0, nearest] >= 0.99 * np.exp(-1) / 2


@pytest.mark.usefixtures("search")
def test_nothing_but_duplicates():
    kernel = alpha_decay_kernel(np.repeat(np.eye(3), 120, axis=0), 5)
    assert np.isfinite(kernel.data).all()
    np.testing.assert_array_equal(kernel.diagonal(), 1)
