"""Mixing of batches: known cases, cell by cell, the test of kBET by SciPy, and scib-metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import chisquare

from scdart.metrics import batch_ilisi, batch_kbet, batch_mixing, modality_mixing


def nearest_others(z, k):
    d = cdist(z, z)
    np.fill_diagonal(d, np.inf)
    return np.argsort(d, axis=1)[:, :k]


def mixing_cell_by_cell(z, batch, k):
    neighbors = nearest_others(z, k)
    ratios = []
    for name in set(batch):
        observed, expected = [], []
        for i in np.flatnonzero(batch == name):
            others = np.delete(batch, i)
            observed.append(np.mean([batch[j] != name for j in neighbors[i]]))
            expected.append(np.mean(others != name))
        ratios.append(np.mean(observed) / np.mean(expected))
    return np.mean(ratios)


@pytest.fixture
def three_batches(rng):
    batch = rng.permutation(np.repeat(["a", "b", "c"], [40, 80, 30]))
    return rng.normal(size=(150, 3)) + 0.8 * (batch == "b")[:, None], batch


@pytest.mark.parametrize("k", [1, 30, 149])
def test_batch_mixing_equals_counts_cell_by_cell(three_batches, k):
    z, batch = three_batches
    assert batch_mixing(z, batch, k=k) == pytest.approx(mixing_cell_by_cell(z, batch, k), abs=1e-12)


def test_batch_mixing_of_known_cases(rng):
    z, batch = rng.normal(size=(1_500, 4)), np.repeat([0, 1], [1_200, 300])
    assert batch_mixing(z, batch) == pytest.approx(1, abs=0.03)
    assert batch_mixing(z + 50 * batch[:, None], batch) == 0
    # With all other cells as neighbours, nothing but the numbers counts; nor where all cells are in one place.
    assert batch_mixing(z + batch[:, None], batch, k=1_499) == pytest.approx(1, abs=1e-12)
    assert batch_mixing(np.zeros((1_500, 2)), batch) == pytest.approx(1, abs=1e-12)


def test_labels_take_composition_out(rng):
    batch = np.repeat([0, 1], 500)
    kind = np.where(rng.random(1_000) < np.where(batch == 0, 0.8, 0.2), "stem", "tip")
    z = rng.normal(size=(1_000, 3)) + 30 * (kind == "tip")[:, None]
    assert batch_mixing(z, batch) < 0.75
    assert batch_mixing(z, batch, kind) == pytest.approx(1, abs=0.1)
    # In the worst label, whatever the others are like.
    z[(kind == "tip") & (batch == 1)] += 30
    assert batch_mixing(z, batch, kind) == 0
    assert batch_mixing(z[kind == "stem"], batch[kind == "stem"]) > 0.9


def test_batch_mixing_with_labels_is_the_least_of_them(three_batches, rng):
    z, batch = three_batches
    kind = np.repeat(["a", "b", "few"], [70, 70, 10])
    of_each = [batch_mixing(z[kind == one], batch[kind == one], k=20) for one in ("a", "b")]
    assert batch_mixing(z, batch, kind, k=20) == min(of_each)


def test_labels_of_one_batch_are_left_out(rng):
    z, batch = rng.normal(size=(200, 3)), np.repeat([0, 1], 100)
    kind = np.repeat(["both", "lone"], [150, 50])
    assert batch_mixing(z, batch, kind) == batch_mixing(z[:150], batch[:150])


def test_batch_kbet_is_the_test_of_every_cell(three_batches):
    pytest.importorskip("scib_metrics")
    z, batch = three_batches
    names, counts = np.unique(batch, return_counts=True)
    p = [
        chisquare([np.sum(batch[row] == name) for name in names], counts / counts.sum() * 40).pvalue
        for row in nearest_others(z, 40)
    ]
    assert 0.1 < np.mean(np.array(p) >= 0.05) < 0.9
    assert batch_kbet(z, batch, k=40) == pytest.approx(np.mean(np.array(p) >= 0.05), abs=0.01)


def test_batch_kbet_within_labels_counts_all_cells_alike(rng):
    pytest.importorskip("scib_metrics")
    batch = rng.permutation(np.arange(400) % 2)
    kind = np.repeat(["stem", "tip"], [300, 100])
    z = rng.normal(size=(400, 3)) + 50 * ((kind == "tip") & (batch == 1))[:, None]
    stem = batch_kbet(z[:300], batch[:300], k=30)
    assert stem > 0.9
    assert batch_kbet(z, batch, kind, k=30) == pytest.approx(0.75 * stem)


def test_batch_ilisi(rng):
    scib_metrics = pytest.importorskip("scib_metrics")
    z, batch = rng.normal(size=(300, 4)), np.repeat(["a", "b", "c"], 100)
    assert batch_ilisi(z, batch) > 0.8
    assert batch_ilisi(z + 50 * (batch[:, None] == ["a", "b", "c", "d"]), batch) == pytest.approx(0, abs=1e-6)
    d = cdist(z, z)
    indices = np.argsort(d, axis=1)[:, :60]
    neighbors = scib_metrics.nearest_neighbors.NeighborsResults(
        indices=indices, distances=np.take_along_axis(d, indices, axis=1)
    )
    assert batch_ilisi(z, batch, k=60) == pytest.approx(scib_metrics.ilisi_knn(neighbors, batch), abs=1e-5)
    # Two batches are as two modalities.
    assert batch_ilisi(z, batch == "a") == pytest.approx(modality_mixing(z[100:], z[:100]), abs=1e-5)


@pytest.mark.parametrize("metric", [batch_mixing, batch_kbet, batch_ilisi])
def test_bad_input(metric):
    z = np.arange(20.0).reshape(10, 2)
    with pytest.raises(ValueError, match="`batch` has 3 labels for 10 cells"):
        metric(z, ["a", "b", "b"])
    with pytest.raises(ValueError, match="`batch` holds a single class, 'a'"):
        metric(z, ["a"] * 10)
    with pytest.raises(ValueError, match="`batch` holds 1 missing"):
        metric(z, ["a", None] + ["b"] * 8)
    with pytest.raises(ValueError, match="`k` must be at least"):
        metric(z, ["a", "b"] * 5, k=11)
    with pytest.raises(ValueError, match="`z` holds 2 NaN"):
        metric(np.where(z < 2, np.nan, z), ["a", "b"] * 5)


@pytest.mark.parametrize("metric", [batch_mixing, batch_kbet])
def test_labels_without_comparable_cells(metric):
    z = np.arange(20.0).reshape(10, 2)
    with pytest.raises(ValueError, match="No class of `labels` has cells of several batches, and more than k=5"):
        metric(z, ["a", "b"] * 5, ["x"] * 5 + ["y"] * 5, k=5)
    with pytest.raises(ValueError, match="`labels` has 2 labels"):
        metric(z, ["a", "b"] * 5, ["x", "y"], k=5)
