"""Link recovery: scikit-learn on dense matrices, sparse inputs, known answers."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score

from scdart.metrics import gact_error, link_auprc


@pytest.fixture
def links(rng):
    truth = sp.random_array((60, 40), density=0.05, rng=rng, format="csr")
    weights = sp.random_array((60, 40), density=0.1, rng=rng, format="csr", data_sampler=rng.normal)
    return (weights + truth.multiply(rng.random((60, 40)) < 0.6)).tocsr(), truth


def test_auprc_equals_scikit_learn_on_dense_matrices(links):
    weights, truth = links
    expected = average_precision_score(truth.toarray().ravel() != 0, np.abs(weights.toarray()).ravel())
    assert link_auprc(weights, truth) == pytest.approx(expected)
    assert link_auprc(weights.toarray(), truth.toarray()) == pytest.approx(expected)
    assert link_auprc(sp.csc_matrix(-weights), sp.coo_array(truth)) == pytest.approx(expected)


def test_auprc_among_candidates(links, rng):
    weights, truth = links
    candidates = sp.random_array(truth.shape, density=0.3, rng=rng, format="csr")
    inside = candidates.toarray() != 0
    expected = average_precision_score(truth.toarray()[inside] != 0, np.abs(weights.toarray()[inside]))
    assert link_auprc(weights, truth, candidates=candidates) == pytest.approx(expected)


def test_auprc_of_known_cases(links, rng):
    _, truth = links
    prevalence = truth.nnz / np.prod(truth.shape)
    assert link_auprc(-3 * truth, truth) == pytest.approx(1)
    assert link_auprc(sp.csr_array(truth.shape), truth) == pytest.approx(prevalence)
    assert link_auprc(rng.random(truth.shape), truth) == pytest.approx(prevalence, abs=0.04)
    # Explicit zeros and repeated entries of a sparse matrix say the same as the dense matrix.
    repeated = sp.coo_array(([1.0, 1.0, 0.0, -1.0], ([0, 0, 1, 1], [0, 0, 0, 1])), shape=(2, 2))
    assert link_auprc(repeated, [[1, 0], [1, 0]]) == pytest.approx(average_precision_score([1, 0, 1, 0], [2, 0, 0, 1]))


def test_gact_error(links):
    weights, truth = links
    expected = ((weights.toarray() != 0) ^ (truth.toarray() != 0)).mean()
    assert gact_error(weights, truth) == expected
    assert gact_error(weights.toarray(), truth) == expected
    assert gact_error(truth, 5 * truth) == 0
    assert gact_error(sp.csr_array(truth.shape), truth) == truth.nnz / np.prod(truth.shape)
    assert gact_error(np.ones((2, 2)), np.zeros((2, 2))) == 1


def test_genome_wide_links_stay_sparse(rng):
    shape = (200_000, 30_000)  # 6e9 pairs
    rows, columns = rng.integers(shape[0], size=50_000), rng.integers(shape[1], size=50_000)
    truth = sp.csr_array((np.ones(50_000), (rows, columns)), shape=shape)
    tracemalloc.start()
    assert link_auprc(truth, truth) == pytest.approx(1)
    assert gact_error(sp.csr_array(shape), truth) == pytest.approx(truth.nnz / (shape[0] * shape[1]))
    assert tracemalloc.get_traced_memory()[1] < 2e8
    tracemalloc.stop()


@pytest.mark.parametrize("metric", [link_auprc, gact_error])
def test_bad_matrices(metric):
    with pytest.raises(ValueError, match=r"`truth` is \(3, 2\), not \(2, 2\)"):
        metric(np.eye(2), np.ones((3, 2)))
    with pytest.raises(ValueError, match="`predicted` holds 1 NaN"):
        metric([[np.nan, 0], [0, 1]], np.eye(2))
    with pytest.raises(ValueError, match="`predicted` must be a non-empty 2-D"):
        metric(np.ones((0, 2)), np.ones((0, 2)))
    with pytest.raises(ValueError, match="`predicted` must be a non-empty 2-D"):
        metric([1, 0], [1, 0])


@pytest.mark.parametrize(("truth", "n_links"), [(np.zeros((2, 2)), 0), (np.ones((2, 2)), 4)])
def test_a_single_class_of_pairs(truth, n_links):
    with pytest.raises(ValueError, match=f"{n_links} of 4 pairs of `truth` are links"):
        link_auprc(np.eye(2), truth)


def test_candidates_that_leave_no_link():
    with pytest.raises(ValueError, match="0 of 1 pairs"):
        link_auprc(np.eye(2), np.eye(2), candidates=[[0, 1], [0, 0]])
    with pytest.raises(ValueError, match=r"`candidates` is \(1, 2\)"):
        link_auprc(np.eye(2), np.eye(2), candidates=[[0, 1]])
