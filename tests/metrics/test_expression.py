"""Predicted expression: SciPy gene by gene, sparse against dense, known answers."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_squared_error, r2_score

from scdart.metrics import _expression, cell_correlation, expression_mse, gene_correlation

REFERENCE = {"pearson": pearsonr, "spearman": spearmanr}


@pytest.fixture
def expression(rng):
    truth = rng.poisson(1.5, size=(60, 25)).astype(np.float32)
    return (truth + rng.poisson(1, size=truth.shape)).astype(np.float32), truth


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_correlations_equal_scipy(expression, method):
    predicted, truth = expression
    per_gene = [REFERENCE[method](p, t).statistic for p, t in zip(predicted.T, truth.T, strict=True)]
    per_cell = [REFERENCE[method](p, t).statistic for p, t in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(gene_correlation(predicted, truth, method=method), per_gene, rtol=1e-6)
    np.testing.assert_allclose(cell_correlation(predicted, truth, method=method), per_cell, rtol=1e-6)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_array])
def test_sparse_equals_dense(expression, kind):
    predicted, truth = expression
    for metric in (gene_correlation, cell_correlation, expression_mse):
        np.testing.assert_allclose(metric(kind(predicted), kind(truth)), metric(predicted, truth))
        np.testing.assert_allclose(metric(predicted, kind(truth)), metric(predicted, truth))


def test_results_do_not_depend_on_the_blocks(expression, monkeypatch):
    metrics = (gene_correlation, cell_correlation, expression_mse)
    whole = [metric(*expression) for metric in metrics]
    monkeypatch.setattr(_expression, "_N_BLOCK_VALUES", 200)  # 3 genes or 8 cells
    for metric, expected in zip(metrics, whole, strict=True):
        np.testing.assert_allclose(metric(*expression), expected)


def test_known_correlations(rng):
    truth = rng.random((200, 4))
    np.testing.assert_allclose(gene_correlation(2 * truth + 1, truth), 1)
    np.testing.assert_allclose(gene_correlation(-truth, truth), -1)
    np.testing.assert_allclose(gene_correlation(truth**5, truth, method="spearman"), 1)
    np.testing.assert_allclose(gene_correlation(rng.permutation(truth), truth), 0, atol=0.25)
    # The mean profile for every cell: no gene is predicted, yet cells correlate.
    truth = truth + [0, 5, 10, 20]
    mean = np.tile(truth.mean(axis=0), (200, 1))
    assert np.isnan(gene_correlation(mean, truth)).all()
    assert (cell_correlation(mean, truth) > 0.99).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_constant_genes_are_nan_and_only_those(expression, method):
    predicted, truth = (x.copy() for x in expression)
    predicted[:, 3] = 0.1
    truth[:, 7] = 0
    r = gene_correlation(predicted, truth, method=method)
    assert np.flatnonzero(np.isnan(r)).tolist() == [3, 7]


def test_mse_equals_scikit_learn(expression):
    predicted, truth = expression
    assert expression_mse(predicted, truth) == pytest.approx(mean_squared_error(truth, predicted))
    r2 = r2_score(truth, predicted, multioutput="variance_weighted")
    assert expression_mse(predicted, truth, normalized=True) == pytest.approx(1 - r2)
    assert expression_mse(truth, truth) == expression_mse(truth, truth, normalized=True) == 0
    assert np.isnan(expression_mse(predicted, np.ones_like(truth), normalized=True))


@pytest.mark.parametrize("metric", [gene_correlation, cell_correlation, expression_mse])
@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (np.ones((4, 3)), np.ones((3, 3)), r"`predicted` is \(4, 3\) and `truth` \(3, 3\)"),
        (np.ones((4, 3)), np.ones((4, 2)), r"`predicted` is \(4, 3\) and `truth` \(4, 2\)"),
        (np.full((4, 3), np.nan), np.ones((4, 3)), "`predicted` holds 12 NaN"),
        (np.ones((4, 3)), sp.csr_array(np.full((4, 3), np.inf)), "`truth` holds 12 NaN or infinite"),
        (np.ones((0, 3)), np.ones((0, 3)), "`predicted` must be a non-empty 2-D"),
        (np.ones(3), np.ones(3), "`predicted` must be a non-empty 2-D"),
    ],
)
def test_bad_matrices(metric, predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        metric(predicted, truth)


def test_too_little_to_correlate():
    with pytest.raises(ValueError, match="1 cells: at least two"):
        gene_correlation(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="1 genes: at least two"):
        cell_correlation(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="`method` must be one of"):
        gene_correlation(np.ones((3, 2)), np.ones((3, 2)), method="kendall")
