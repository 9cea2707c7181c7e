"""Mixing of modalities: known cases, the dense definition, scib-metrics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scdart.metrics import alignment_score, branch_alignment, modality_mixing


def dense_alignment(z_rna, z_atac, k):
    z = np.concatenate([z_rna, z_atac])
    modality = np.repeat([0, 1], [len(z_rna), len(z_atac)])
    d = cdist(z, z)
    np.fill_diagonal(d, np.inf)
    same = modality[np.argsort(d, axis=1)[:, :k]] == modality[:, None]
    return 1 - (same.sum(axis=1).mean() - k / 2) / (k / 2)


@pytest.mark.parametrize("k", [1, 15, 399])
def test_alignment_score_equals_the_dense_definition(rng, k):
    z_rna, z_atac = rng.normal(size=(2, 200, 4))
    z_atac = z_atac + 0.7
    assert alignment_score(z_rna, z_atac, k=k) == pytest.approx(dense_alignment(z_rna, z_atac, k), abs=1e-12)


def test_tied_neighbours_count_by_expectation(rng):
    z = rng.integers(4, size=(400, 3)).astype(float)  # on a grid, where many are equally far
    modality, k = np.repeat([0, 1], 200), 20
    d = cdist(z, z, "sqeuclidean")
    np.fill_diagonal(d, np.inf)
    n_same = []
    for i, row in enumerate(d):
        radius, same = np.sort(row)[k - 1], modality == modality[i]
        closer, tied = row < radius, row == radius
        n_same.append((closer & same).sum() + (k - closer.sum()) * same[tied].mean())
    expected = 1 - (np.mean(n_same) - k / 2) / (k / 2)
    assert alignment_score(z[:200], z[200:], k=k) == pytest.approx(expected, abs=1e-12)


def test_alignment_score_of_known_cases(rng):
    z_rna, z_atac = rng.normal(size=(2, 500, 4))
    assert alignment_score(z_rna, z_atac) == pytest.approx(1, abs=0.03)
    assert alignment_score(z_rna, z_atac) == alignment_score(z_rna, z_atac, k=100)
    assert alignment_score(z_rna, z_atac + 50) == 0
    # Mates on the same point: the first neighbour is always of the other modality.
    assert alignment_score(z_rna, z_rna, k=1) == 2
    # One point for all: 499 of the 999 other cells are of the same modality.
    point = np.zeros((500, 2))
    assert alignment_score(point, point, k=10) == pytest.approx(2 - 2 * 499 / 999)


def test_alignment_score_samples_the_larger_modality(rng):
    z = rng.normal(size=(1200, 4))
    score = alignment_score(z[:1000], z[1000:], random_state=1)
    assert score == pytest.approx(1, abs=0.06)
    assert score == alignment_score(z[:1000], z[1000:], random_state=1)
    assert score != alignment_score(z[:1000], z[1000:], random_state=2)


def test_branch_alignment_finds_the_matching_branches(rng):
    branch_rna = np.repeat(["stem", "tip", "tip2"], [100, 60, 80])
    branch_atac = np.repeat(["tip", "stem"], [90, 70])
    center = {"stem": 0, "tip": 30, "tip2": 60}
    z_rna, z_atac = (
        rng.normal(size=(len(b), 3)) + np.array([center[x] for x in b])[:, None] for b in (branch_rna, branch_atac)
    )
    scores = branch_alignment(z_rna, branch_rna, z_atac, branch_atac)
    assert list(scores.index) == ["stem", "tip", "tip2"]
    assert list(scores.columns) == ["stem", "tip"]
    np.testing.assert_allclose(scores, [[1, 0], [0, 1], [0, 0]], atol=0.15)
    shuffled = branch_alignment(z_rna, rng.permutation(branch_rna), z_atac, rng.permutation(branch_atac))
    assert np.ptp(shuffled.to_numpy()) < 0.5


def test_branch_alignment_entries_are_alignment_scores(rng):
    z = rng.normal(size=(80, 3))
    branch = np.repeat(["a", "b"], 40)
    scores = branch_alignment(z, branch, z + 0.5, branch, k=5)
    assert scores.loc["a", "b"] == alignment_score(z[:40], z[40:] + 0.5, k=5)


def test_modality_mixing_of_known_cases(rng):
    pytest.importorskip("scib_metrics")
    z_rna, z_atac = rng.normal(size=(2, 300, 4))
    assert modality_mixing(z_rna, z_atac) > 0.9
    assert modality_mixing(z_rna, z_atac + 50) == pytest.approx(0, abs=1e-6)
    assert 0.05 < modality_mixing(z_rna, z_atac + 1) < 0.9


def test_modality_mixing_equals_scib_metrics_on_dense_neighbours(rng):
    scib_metrics = pytest.importorskip("scib_metrics")
    z_rna, z_atac = rng.normal(size=(2, 300, 4))
    z = np.concatenate([z_rna, z_atac + 0.8])
    d = cdist(z, z)
    indices = np.argsort(d, axis=1)[:, :90]
    neighbors = scib_metrics.nearest_neighbors.NeighborsResults(
        indices=indices, distances=np.take_along_axis(d, indices, axis=1)
    )
    reference = scib_metrics.ilisi_knn(neighbors, np.repeat(["rna", "atac"], 300))
    assert modality_mixing(z[:300], z[300:]) == pytest.approx(reference, abs=1e-5)


@pytest.mark.parametrize(("k", "message"), [(0, "k=0 must be"), (8, "at most 7, the other cells compared")])
def test_alignment_score_with_impossible_k(k, message):
    with pytest.raises(ValueError, match=message):
        alignment_score(np.ones((4, 2)), np.ones((9, 2)), k=k)


@pytest.mark.parametrize("k", [5, 14])
def test_modality_mixing_with_impossible_k(k):
    with pytest.raises(ValueError, match="at least 6 and at most 13"):
        modality_mixing(np.ones((4, 2)), np.ones((9, 2)), k=k)


@pytest.mark.parametrize("metric", [alignment_score, modality_mixing])
def test_bad_matrices(metric):
    with pytest.raises(ValueError, match="same latent space"):
        metric(np.ones((100, 2)), np.ones((100, 3)))
    with pytest.raises(ValueError, match="`z_atac` holds 200 NaN"):
        metric(np.ones((100, 2)), np.full((100, 2), np.nan))
    with pytest.raises(ValueError, match="`z_rna` must be a non-empty"):
        metric(np.ones((0, 2)), np.ones((100, 2)))


def test_branch_alignment_with_bad_labels():
    z = np.ones((4, 2))
    with pytest.raises(ValueError, match="`branches_atac` has 3 labels for 4 cells"):
        branch_alignment(z, ["a"] * 4, z, ["a"] * 3)
    with pytest.raises(ValueError, match="`branches_rna` holds 1 missing"):
        branch_alignment(z, ["a", None, "a", "b"], z, ["a"] * 4)
