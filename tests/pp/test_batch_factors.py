"""Factors of batches against the planted ones, whatever the composition of the batches."""

from __future__ import annotations

import numpy as np
import pytest

import scdart
from scdart.pp._batch_estimation import _from_pairs, _log_ratio, _mutual


def planted(batch_effect, seed=0, **options):
    """Cells of two batches in either modality."""
    options = {"n_cells": 600, "n_genes": 300, "n_peaks": 900, "n_batches_rna": 2, "n_batches_atac": 2, **options}
    return scdart.datasets.simulate("bifurcating", batch_effect=batch_effect, random_state=seed, **options)


def recomposed(mdata, share):
    """Cells of the first branch are left in the first batch of RNA alone, or kept in the second with a probability."""
    rna = mdata["rna"]
    first = (rna.obs["branch"] == rna.obs["branch"].cat.categories[0]).to_numpy()
    second = (rna.obs["batch"] == "rna_1").to_numpy()
    kept = ~(first & second) | (np.random.default_rng(0).uniform(size=len(first)) < share)
    return mdata[np.concatenate([rna.obs_names[kept], mdata["atac"].obs_names])].copy()


def ratio_of_counts(mdata, known=None):
    """Log-ratio of the two batches of RNA, gene by gene: of factors, or of the counts of corresponding cells."""
    factors = np.log(mdata["rna"].varm["batch_factors"])
    return factors[:, 1] - factors[:, 0]


@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_factors_are_those_of_the_batches_whatever_their_composition(share):
    mdata = planted(1.0, n_cells=1200)
    # Cells of one branch alone tell the truth.
    rna = mdata["rna"]
    rows = (rna.obs["branch"] == rna.obs["branch"].cat.categories[1]).to_numpy()
    total = [rna.X[rows & (rna.obs["batch"] == f"rna_{b}").to_numpy()].sum(axis=0) for b in (0, 1)]
    truth = np.asarray(np.log((total[0] + 1) / (total[1] + 1))).ravel()
    expressed = np.asarray(total[0] + total[1]).ravel() > 200

    mdata = recomposed(mdata, share)
    scdart.pp.batch_factors(mdata, "batch")
    found = ratio_of_counts(mdata)[expressed]
    truth = truth[expressed] - truth[expressed].mean()
    error = (found - found.mean()) - truth
    assert error.std() < 0.25 * truth.std()
    matched = mdata["rna"].uns["batch_factors"]["matched"]
    assert matched["rna_1"] > 0.9
    assert (matched["rna_0"] < 0.8) == (share == 0)


def test_batches_without_effect_have_factors_of_one():
    mdata = recomposed(planted(0.0), 0.25)
    scdart.pp.batch_factors(mdata, "batch")
    for mod in ("rna", "atac"):
        assert np.abs(np.log(mdata[mod].varm["batch_factors"])).max() < 0.1
        assert mdata[mod].uns["batch_factors"]["spread"] < 0.02


def test_a_modality_of_one_batch_has_no_factors():
    mdata = planted(0.5, n_batches_atac=1)
    changed = scdart.pp.batch_factors(mdata, "batch", copy=True)
    assert changed["rna"].varm["batch_factors"].shape == (300, 2)
    assert "batch_factors" not in changed["atac"].varm
    assert "batch_factors" not in mdata["rna"].varm


def test_mutual_neighbours_by_hand():
    one, other = np.array([[0.0], [1.0], [9.0]]), np.array([[0.1], [1.1], [1.2]])
    first, second = _mutual(one, other, 1)
    # 0 and 0.1 choose one another, and so do 1 and 1.1; 9 chooses 1.2, which chooses 1.
    np.testing.assert_allclose(first, [1, 1, 0])
    np.testing.assert_allclose(second, [1, 1, 0])


def test_ratios_are_drawn_to_zero_as_far_as_they_are_uncertain():
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    rate = np.repeat([0.02, 20.0], 200)
    effect = np.exp(rng.normal(0, 0.5, size=400))
    share = np.ones(100)
    sides = []
    for factor in (effect, 1.0):
        values = sp.csr_matrix(rng.poisson(rate * factor, size=(100, 400)).astype(float))
        sides.append((values, values.multiply(values).tocsr(), share))
    found = _log_ratio(*sides)
    assert np.corrcoef(found[200:], np.log(effect[200:]))[0, 1] > 0.99
    np.testing.assert_allclose(found[200:].std(), np.log(effect[200:]).std(), rtol=0.1)
    assert found[:200].std() < 0.5 * found[200:].std()


def test_several_batches_are_consistent():
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 80)
    effect = np.exp(rng.normal(0, 0.5, size=(3, 50)))
    values = sp.csr_matrix(rng.poisson(30 * effect[codes]).astype(float))
    z = np.tile(np.linspace(0, 1, 80), 3)[:, None]
    log_factors, matched = _from_pairs(z, codes, values, values.multiply(values).tocsr(), 10, np.zeros((0, 50)))
    np.testing.assert_allclose(log_factors.mean(axis=0), 0, atol=1e-10)
    expected = -(np.log(effect) - np.log(effect).mean(axis=0))
    assert np.abs(log_factors - expected).max() < 0.1
    np.testing.assert_array_equal(matched, 1)
    # What is known of one stays, and the others follow.
    held = expected[:1] + 1.0
    log_factors, _ = _from_pairs(z, codes, values, values.multiply(values).tocsr(), 10, held)
    np.testing.assert_array_equal(log_factors[:1], held)
    assert np.abs(log_factors[1:] - expected[1:] - 1.0).max() < 0.15
