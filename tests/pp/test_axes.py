"""Leading axes from products, beside those of a decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scdart._chunks import RowChunks
from scdart.pp import _axes
from scdart.pp._axes import leading_axes


class OnDisk:
    """Counts that are read by rows, and count how often they are."""

    def __init__(self, matrix):
        self.matrix, self.shape, self.dtype, self.n_reads = sparse.csr_matrix(matrix), matrix.shape, matrix.dtype, 0

    def __getitem__(self, rows):
        self.n_reads += 1
        return self.matrix[rows]


def spectrum(n_rows, n_columns, values, seed=0):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, len(values))))[0] for n in (n_rows, n_columns))
    return left * values @ right.T


def angle_between(one, other):
    return np.linalg.norm(one - other @ (other.T @ one), 2)


@pytest.mark.parametrize(
    ("n_rows", "n_columns", "rank"), [(300, 200, 150), (300, 12, 12), (20, 200, 20), (300, 200, 9)]
)
@pytest.mark.parametrize("centred", [False, True])
def test_axes_are_those_of_all_data(n_rows, n_columns, rank, centred):
    matrix = spectrum(n_rows, n_columns, 0.95 ** np.arange(rank)) + 0.1
    centre = matrix.mean(axis=0) if centred else None
    axes = leading_axes(RowChunks(OnDisk(matrix)), 7, centre, np.random.default_rng(0))
    exact = np.linalg.svd(matrix - (0 if centre is None else centre))[2][:7].T
    np.testing.assert_allclose(axes.T @ axes, np.eye(7), atol=1e-9)
    assert angle_between(axes, exact) < 1e-4
    np.testing.assert_allclose(np.abs(np.sum(axes * exact, axis=0)), 1, atol=1e-6)


def test_more_axes_than_cells_differ_in():
    matrix = spectrum(300, 200, np.array([3.0, 2.0, 1.0]))
    axes = leading_axes(RowChunks(OnDisk(matrix)), 25, None, np.random.default_rng(0))
    np.testing.assert_allclose(axes.T @ axes, np.eye(25), atol=1e-9)
    exact = np.linalg.svd(matrix)[2][:3].T
    assert angle_between(axes[:, :3], exact) < 1e-4


def test_directions_are_condensed_where_many_are_needed(monkeypatch, caplog):
    matrix = spectrum(400, 300, np.concatenate([[50], 1.02 - 0.001 * np.arange(250)]))
    exact = np.linalg.svd(matrix)[2][:5].T
    source = OnDisk(matrix)
    leading_axes(RowChunks(source), 5, None, np.random.default_rng(0))
    n_passes = source.n_reads
    monkeypatch.setattr(_axes, "_MAX_HELD", 2)
    axes = leading_axes(RowChunks(source), 5, None, np.random.default_rng(0))
    assert angle_between(axes, exact) < 0.1  # of values as near to each other, where products are in single precision
    assert source.n_reads - n_passes >= n_passes
    monkeypatch.setattr(_axes, "_MAX_PASSES", 2)
    with caplog.at_level("INFO", "scdart"):
        leading_axes(RowChunks(source), 5, None, np.random.default_rng(0))
    assert "2 passes" in caplog.text
